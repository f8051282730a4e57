// Package app is the composition root: it reads the configuration from the
// environment, builds every part in order, runs them and takes them down.
// Nothing else makes the parts of another floor, and nothing imports app but
// the commands.
package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/auth/oidc"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/views/paths"
)

// Config is how one process of the portal runs. FromEnvironment says which
// variable sets which field.
type Config struct {
	DatabaseURL domain.Secret // it may have a password; empty: a private server in DataDir
	DataDir     string
	Addr        string // of the portal
	AdminAddr   string // of /metrics and pprof; empty: off
	URL         string // as people reach it; decides on secure cookies
	TLSCert     string // files; empty: plain HTTP, for a proxy in front
	TLSKey      string
	KEKFile     string // key encryption keys
	KEK         domain.Secret

	OIDC      *oidc.Config // company accounts; nil: none
	NewPeople bool         // make accounts for company accounts that have none
	Passwords account.PasswordRule

	AllowCIDRs     []netip.Prefix // clusters in special ranges, such as loopback
	DenyCIDRs      []netip.Prefix // ranges that clusters may not be in
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts
	LogLevel       slog.Level
	Version        string
	Workers        int // of the job queue

	AuditRetention time.Duration // how long entries stay in the database; 0: for ever
	AuditArchive   string        // directory of what has left it

	// RateLimits multiplies handlers.DefaultLimits; 0: no limits.
	RateLimits float64
}

const maxRateFactor = 1000

// maxRetentionDays is a hundred years.
const maxRetentionDays = 36525

// variables documents the environment, for `shepherd help` and the README.
var variables = [][2]string{
	{"DATABASE_URL", "PostgreSQL connection string; without it a private server runs in the data directory"},
	{"SHEPHERD_DATA_DIR", "where the private server and the demo keep their data (./data)"},
	{"SHEPHERD_ADDR", "address of the portal (:8080)"},
	{"SHEPHERD_ADMIN_ADDR", "address of /metrics and pprof (127.0.0.1:9090); \"off\" switches it off"},
	{"SHEPHERD_URL", "address as people type it, such as https://vms.example.com"},
	{"SHEPHERD_TLS_CERT, SHEPHERD_TLS_KEY", "PEM files; without them put a proxy with TLS in front"},
	{"SHEPHERD_KEK_FILE", "file with the key encryption keys, mode 0600 or stricter; make one with `shepherd keys new FILE`"},
	{"SHEPHERD_KEK", "the same text, for platforms that give secrets as variables"},
	{"SHEPHERD_CLUSTER_ALLOW_CIDRS", "networks; when set, clusters may be in these only. Loopback, for trying, has to be named by itself"},
	{"SHEPHERD_CLUSTER_DENY_CIDRS", "addresses where no cluster may be"},
	{"SHEPHERD_TRUSTED_PROXIES", "CIDRs whose X-Forwarded-For is believed"},
	{"SHEPHERD_AUDIT_RETENTION", "how long entries of the audit log stay in the database, in days such as 730d, at least 90d; without it for ever"},
	{"SHEPHERD_AUDIT_ARCHIVE", "directory for the archives of older entries; one that all replicas share"},
	{"SHEPHERD_RATE_LIMITS", "multiplies how often a caller may come (1); \"off\" lifts the limits"},
	{"SHEPHERD_OIDC_ISSUER", "address of an OpenID Connect issuer, as its tokens name it; switches company accounts on"},
	{"SHEPHERD_OIDC_CLIENT_ID", "what the issuer calls the portal"},
	{"SHEPHERD_OIDC_CLIENT_SECRET_FILE", "file with the client's secret; without it the portal is a public client with PKCE"},
	{"SHEPHERD_OIDC_NAME", "what people call the company account, on the sign-in button (company account)"},
	{"SHEPHERD_OIDC_SCOPES", "what is asked for besides openid (profile email)"},
	{"SHEPHERD_OIDC_USERNAME_CLAIM", "claim that a new account is named after (preferred_username)"},
	{"SHEPHERD_OIDC_GROUPS_CLAIM", "claim with the person's groups; sets the members of groups that name one of the issuer's"},
	{"SHEPHERD_OIDC_ALLOWED_GROUPS", "groups of the issuer, separated by commas, whose members may sign in; without it everybody whom the issuer knows"},
	{"SHEPHERD_OIDC_NEW_PEOPLE", "on: an account is made at the first sign-in; off: only for who was invited (off)"},
	{"SHEPHERD_LOCAL_SIGN_IN", "who may sign in with a password: on, break-glass or off (on)"},
	{"SHEPHERD_LOG_LEVEL", "debug, info, warn or error (info)"},
}

// Variables lists the environment variables with what they mean.
func Variables() [][2]string { return variables }

// FromEnvironment reads the configuration, and reports every mistake at once.
func FromEnvironment(getenv func(string) string) (Config, error) {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	c := Config{
		DatabaseURL: domain.Secret(getenv("DATABASE_URL")),
		DataDir:     or("SHEPHERD_DATA_DIR", "data"),
		Addr:        or("SHEPHERD_ADDR", ":8080"),
		AdminAddr:   or("SHEPHERD_ADMIN_ADDR", "127.0.0.1:9090"),
		URL:         getenv("SHEPHERD_URL"),
		TLSCert:     getenv("SHEPHERD_TLS_CERT"),
		TLSKey:      getenv("SHEPHERD_TLS_KEY"),
		KEKFile:     getenv("SHEPHERD_KEK_FILE"),
		KEK:         domain.Secret(getenv("SHEPHERD_KEK")),
		Workers:     16,
	}
	var wrong []error
	if c.AdminAddr == "off" {
		c.AdminAddr = ""
	}
	if text := or("SHEPHERD_RATE_LIMITS", "1"); text != "off" {
		var err error
		if c.RateLimits, err = strconv.ParseFloat(text, 64); err != nil || !(c.RateLimits > 0 && c.RateLimits <= maxRateFactor) {
			wrong = append(wrong, errors.New("SHEPHERD_RATE_LIMITS: want a number from 0 to 1000, or off"))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		wrong = append(wrong, errors.New("SHEPHERD_TLS_CERT and SHEPHERD_TLS_KEY belong together"))
	}
	c.AuditArchive = getenv("SHEPHERD_AUDIT_ARCHIVE")
	if text := getenv("SHEPHERD_AUDIT_RETENTION"); text != "" {
		days, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
		c.AuditRetention = time.Duration(days) * 24 * time.Hour
		switch {
		case err != nil || !strings.HasSuffix(text, "d") || days > maxRetentionDays || c.AuditRetention < audit.MinRetention:
			wrong = append(wrong, fmt.Errorf("SHEPHERD_AUDIT_RETENTION: want days, such as 730d, from 90d to %dd", maxRetentionDays))
		case c.AuditArchive == "":
			wrong = append(wrong, errors.New("SHEPHERD_AUDIT_RETENTION needs SHEPHERD_AUDIT_ARCHIVE: nothing is deleted that is not in an archive"))
		}
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" {
			wrong = append(wrong, errors.New("SHEPHERD_URL: want scheme and host, such as https://vms.example.com"))
		}
	}
	if err := c.LogLevel.UnmarshalText([]byte(or("SHEPHERD_LOG_LEVEL", "info"))); err != nil {
		wrong = append(wrong, fmt.Errorf("SHEPHERD_LOG_LEVEL: %w", err))
	}
	for name, to := range map[string]*[]netip.Prefix{
		"SHEPHERD_CLUSTER_ALLOW_CIDRS": &c.AllowCIDRs,
		"SHEPHERD_CLUSTER_DENY_CIDRS":  &c.DenyCIDRs,
		"SHEPHERD_TRUSTED_PROXIES":     &c.TrustedProxies,
	} {
		for text := range strings.FieldsFuncSeq(getenv(name), func(r rune) bool { return r == ',' || r == ' ' }) {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %q is no CIDR", name, text))
				continue
			}
			*to = append(*to, p)
		}
	}
	wrong = append(wrong, c.readOIDC(getenv)...)
	return c, errors.Join(wrong...)
}

// readOIDC reads how people sign in.
func (c *Config) readOIDC(getenv func(string) string) (wrong []error) {
	or := func(name, fallback string) string {
		if v := strings.TrimSpace(getenv("SHEPHERD_OIDC_" + name)); v != "" {
			return v
		}
		return fallback
	}
	issuer, client, secretFile := or("ISSUER", ""), or("CLIENT_ID", ""), or("CLIENT_SECRET_FILE", "")
	o := &oidc.Config{
		Issuer: issuer, ClientID: client, Name: or("NAME", "company account"), Scopes: strings.Fields(or("SCOPES", "profile email")),
		UsernameClaim: or("USERNAME_CLAIM", "preferred_username"), GroupsClaim: or("GROUPS_CLAIM", ""),
		RedirectURL: c.PublicURL() + paths.LoginOIDCReply,
	}
	for group := range strings.SplitSeq(or("ALLOWED_GROUPS", ""), ",") {
		if group = strings.TrimSpace(group); group != "" {
			o.AllowedGroups = append(o.AllowedGroups, group)
		}
	}
	switch v := or("NEW_PEOPLE", "off"); v {
	case "on", "off":
		c.NewPeople = v == "on"
	default:
		wrong = append(wrong, fmt.Errorf("SHEPHERD_OIDC_NEW_PEOPLE: want on or off, not %q", v))
	}
	switch v := getenv("SHEPHERD_LOCAL_SIGN_IN"); v {
	case "", "on":
	case string(account.PasswordsBreakGlass), string(account.PasswordsOff):
		if c.Passwords = account.PasswordRule(v); issuer == "" {
			wrong = append(wrong, fmt.Errorf("SHEPHERD_LOCAL_SIGN_IN: %s needs SHEPHERD_OIDC_ISSUER, or nobody could sign in", v))
		}
	default:
		wrong = append(wrong, fmt.Errorf("SHEPHERD_LOCAL_SIGN_IN: want on, break-glass or off, not %q", v))
	}
	if issuer == "" {
		if client != "" || secretFile != "" || len(o.AllowedGroups) > 0 || o.GroupsClaim != "" {
			wrong = append(wrong, errors.New("SHEPHERD_OIDC_ISSUER is not set, and other SHEPHERD_OIDC_ variables are"))
		}
		return wrong
	}
	c.OIDC = o
	if err := oidc.CheckIssuer(issuer); err != nil {
		wrong = append(wrong, fmt.Errorf("SHEPHERD_OIDC_ISSUER: %w", err))
	}
	if client == "" {
		wrong = append(wrong, errors.New("SHEPHERD_OIDC_CLIENT_ID is not set"))
	}
	if len(o.AllowedGroups) > 0 && o.GroupsClaim == "" {
		wrong = append(wrong, errors.New("SHEPHERD_OIDC_ALLOWED_GROUPS needs SHEPHERD_OIDC_GROUPS_CLAIM"))
	}
	if secretFile != "" {
		b, err := os.ReadFile(secretFile)
		if o.ClientSecret = bytes.TrimSpace(b); err == nil && len(o.ClientSecret) == 0 {
			err = errors.New("the file is empty")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("SHEPHERD_OIDC_CLIENT_SECRET_FILE: %w", err))
		}
	}
	return wrong
}

// Secure says whether browsers reach the portal through TLS, so that cookies
// can be bound to it.
func (c Config) Secure() bool { return c.TLSCert != "" || strings.HasPrefix(c.URL, "https://") }

// PublicURL is the address to print and to put into links.
func (c Config) PublicURL() string {
	if c.URL != "" {
		return strings.TrimSuffix(c.URL, "/")
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	host, port, ok := cutPort(c.Addr)
	if !ok || host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return scheme + "://" + host + ":" + strconv.Itoa(port)
}

func cutPort(addr string) (host string, port int, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return addr, 0, false
	}
	port, err := strconv.Atoi(addr[i+1:])
	return strings.Trim(addr[:i], "[]"), port, err == nil
}

// path is a file in the data directory.
func (c Config) path(name string) string { return filepath.Join(c.DataDir, name) }

// MakeDataDir makes the data directory. Others may enter it, because the
// private server runs as another account when we are root; what is secret in
// it has a mode of its own.
func (c Config) MakeDataDir() error { return os.MkdirAll(c.DataDir, 0o755) }
