package approval

import (
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// Limits of SSH keys.
const (
	maxKeys    = 10
	maxKeyLine = 16 << 10 // bytes; an RSA key of 16,384 bits has under 3 KiB
	maxComment = 200      // runes
)

// sshKeys reads public keys, one per line, into their canonical form. No error
// holds any part of the input: it may be a private key.
func sshKeys(wrong *apperr.List, input []string) []string {
	const field = "ssh_keys"
	lines := strings.Split(strings.Join(input, "\n"), "\n")
	private := func(l string) bool {
		return strings.Contains(l, "PRIVATE KEY") || strings.HasPrefix(l, "PuTTY-User-Key-File") || strings.HasPrefix(l, "Private-Lines")
	}
	if slices.ContainsFunc(lines, private) {
		wrong.Add(field, apperr.ErrPrivateSSHKey)
		return nil
	}
	var keys []string
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, ok := sshKey(line)
		if !ok {
			*wrong = append(*wrong, apperr.Field(field, apperr.ErrInvalidSSHKey).With("line", i+1))
			return nil
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) > maxKeys {
		*wrong = append(*wrong, apperr.Field(field, apperr.ErrOutOfRange).With("max", maxKeys))
	}
	return keys
}

// sshKey gives algorithm, key and comment. Options are refused: to drop a
// restriction such as from= would let in more than its owner has meant.
func sshKey(line string) (string, bool) {
	if len(line) > maxKeyLine {
		return "", false
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 {
		return "", false
	}
	if _, certificate := key.(*ssh.Certificate); certificate {
		return "", false // authorized_keys takes the key that signed it, not the certificate
	}
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if comment = strings.TrimSpace(domain.CleanText(comment, maxComment)); comment != "" {
		text += " " + comment
	}
	return text, true
}
