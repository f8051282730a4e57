package domain

import (
	"fmt"
	"regexp"
	"strings"
)

// MaxLabel is the longest RFC 1035 label, and so the longest VM name.
const MaxLabel = 63

// MaxPrefix is the longest "<system>-<service>" that leaves room for a dash and
// an instance number of up to five digits.
const MaxPrefix = MaxLabel - 6

var label = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// ValidName says whether s is an RFC 1035 label: lower-case letters, digits and
// dashes, starting with a letter, ending with a letter or digit, at most 63.
func ValidName(s string) bool { return len(s) <= MaxLabel && label.MatchString(s) }

// VMPrefix is the fixed part of the names of a service's VMs.
func VMPrefix(system, service string) string { return system + "-" + service }

// InstanceLabel is the instance number as the seed writes it: at least two digits.
func InstanceLabel(n int) string { return fmt.Sprintf("%02d", n) }

// VMName is the name of a VM: system, service and instance number.
func VMName(system, service string, instance int) string {
	return VMPrefix(system, service) + "-" + InstanceLabel(instance)
}

// NextVMNames previews the names of the next count VMs.
func NextVMNames(system, service string, next, count int) []string {
	names := make([]string, 0, count)
	for i := range count {
		names = append(names, VMName(system, service, next+i))
	}
	return names
}

// TicketName is how a ticket is called everywhere: TKT-123.
func TicketName(number int) string { return fmt.Sprintf("TKT-%d", number) }

// The labels and annotations of an object that the platform manages
// (contract 2 of the seed). There is one prefix.
const (
	LabelPrefix         = "kubevirt-shepherd.io/"
	LabelManagedBy      = LabelPrefix + "managed-by"
	LabelSystem         = LabelPrefix + "system"
	LabelService        = LabelPrefix + "service"
	LabelInstance       = LabelPrefix + "instance"
	LabelTicket         = LabelPrefix + "ticket-id"
	ManagedBy           = "kubevirt-shepherd"
	AnnotationOperation = LabelPrefix + "operation-id" // the id of the event that created the object
	AnnotationSpecHash  = LabelPrefix + "spec-hash"
	AnnotationOwner     = LabelPrefix + "owner" // user name of who asked for the VM; no label, which could not hold every name
	FieldManager        = "kubevirt-shepherd"
	ManagedSelector     = LabelManagedBy + "=" + ManagedBy
)

// LabelEnvironment says on a namespace that Shepherd made what it is for.
const LabelEnvironment = LabelPrefix + "environment"

// NamespaceLabels are the labels of a namespace that was made for Shepherd.
func NamespaceLabels(e Environment) map[string]string {
	return map[string]string{LabelManagedBy: ManagedBy, LabelEnvironment: string(e)}
}

// VMLabels are the governance labels of a VM. All values are names and numbers
// that were validated before, so each is a legal label value.
func VMLabels(system, service string, instance int, ticket int) map[string]string {
	return map[string]string{
		LabelManagedBy: ManagedBy,
		LabelSystem:    system,
		LabelService:   service,
		LabelInstance:  InstanceLabel(instance),
		LabelTicket:    TicketName(ticket),
	}
}

// CleanText makes text of foreign origin safe to store and show: it is cut to
// limit runes, line breaks become spaces, and what would hide or turn around
// other text becomes U+FFFD (Hidden).
func CleanText(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteString("…")
			break
		}
		n++
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(' ')
		case Hidden(r):
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Hidden says whether a rune has no place in a text of people or clusters: one
// that controls a terminal, turns the direction of what follows, or cannot be
// seen. Line feed and tab are hidden too; who allows them asks before. The
// joiners of scripts and emoji, U+200C and U+200D, and the marks U+200E and
// U+200F are not.
func Hidden(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // C0, C1
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // bidirectional embeddings, overrides and isolates
	case r == 0x200b, r >= 0x2060 && r <= 0x2064, r == 0xfeff, r == 0x00ad, r == 0x180e, r == 0x3164, r == 0x115f, r == 0x1160: // no width, or blank
	case r == 0x2028, r == 0x2029: // line and paragraph separators
	case r >= 0xe0000 && r <= 0xe007f: // tags
	default:
		return false
	}
	return true
}
