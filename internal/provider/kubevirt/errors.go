package kubevirt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// maxText is how many characters of a cluster's own words are kept.
const maxText = 1024

// foreignCause is the cause for the log: the cluster's words, cleaned, cut and
// without our secrets, which a strange server may echo. It unwraps to context
// errors only.
type foreignCause struct {
	text string
	ctx  error
}

func (e *foreignCause) Error() string { return e.text }
func (e *foreignCause) Unwrap() error { return e.ctx }

// fail turns any error of a call into an AppError; nil stays nil.
func (c *client) fail(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := apperr.From(err); ok {
		return e
	}
	e := classify(err)
	if text, ok := e.Params["text"].(string); ok {
		e = e.With("text", c.clean(text))
	}
	cause := &foreignCause{text: c.clean(err.Error())}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			cause.ctx = known
		}
	}
	return e.Because(cause)
}

// failQuietly is fail for calls that send first-boot data: what the cluster says
// may repeat them, in any form, so only the code is kept.
func (c *client) failQuietly(err error) error {
	if err == nil {
		return nil
	}
	e, _ := apperr.From(c.fail(err))
	cause := &foreignCause{text: "what the cluster said is not kept: it may repeat first-boot data"}
	if errors.Is(e, context.Canceled) {
		cause.ctx = context.Canceled
	} else if errors.Is(e, context.DeadlineExceeded) {
		cause.ctx = context.DeadlineExceeded
	}
	quiet := apperr.New(e.Code)
	for name, value := range e.Params {
		if name != "text" {
			quiet = quiet.With(name, value)
		}
	}
	return quiet.Because(cause)
}

func (c *client) clean(s string) string {
	for _, secret := range c.secrets {
		s = strings.ReplaceAll(s, secret, "[REDACTED]")
	}
	return domain.CleanText(s, maxText)
}

// encodings are the forms in which a strange server may repeat a secret: as it
// is, in base64 at any position, in hexadecimal digits, escaped for an address.
func encodings(secret string) []string {
	const short = 8 // the digits of a few bytes stand in any text
	if len(secret) < short {
		return []string{secret}
	}
	raw := []byte(secret)
	all := []string{secret, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), url.QueryEscape(secret)}
	for shift := range 3 {
		padded := append(make([]byte, shift), raw...)
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			// The characters at both ends depend on what stands beside the secret.
			if text := e.EncodeToString(padded); len(text) > 16 {
				all = append(all, text[4:len(text)-4])
			}
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// classify is the one table from errors of client-go and the network to codes.
// "text" parameters are still raw; fail cleans them.
func classify(err error) *apperr.AppError {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return classifyStatus(status.Status())
	}
	var (
		dns       *net.DNSError
		netErr    net.Error
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		urlErr    *url.Error
		open      *errOpen
	)
	switch {
	case errors.As(err, &open):
		e := apperr.New(apperr.ErrClusterUnreachable)
		if open.throttled {
			e = apperr.New(apperr.ErrClusterDegraded)
		} else if !open.answered.IsZero() {
			e = e.With("since", open.answered.UTC().Format(time.RFC3339))
		}
		return e.With("retry_at", open.until.UTC().Format(time.RFC3339))
	case errors.Is(err, errAddress):
		return apperr.New(apperr.ErrAddressNotAllowed)
	case errors.Is(err, context.Canceled):
		return apperr.New(apperr.ErrUnavailable)
	case errors.As(err, &dns):
		return apperr.New(apperr.ErrClusterDNS)
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record):
		return apperr.New(apperr.ErrClusterTLS)
	case errors.As(err, &alert): // the server refuses our certificate
		return apperr.New(apperr.ErrClusterUnauthorized)
	case errors.Is(err, syscall.ECONNREFUSED):
		return apperr.New(apperr.ErrClusterRefused)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSilent), errors.As(err, &netErr) && netErr.Timeout():
		return apperr.New(apperr.ErrClusterTimeout)
	case errors.Is(err, errResponseTooLarge), errors.Is(err, errForgotten):
		return apperr.New(apperr.ErrClusterDegraded)
	case errors.As(err, &urlErr), netErr != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return apperr.New(apperr.ErrClusterUnreachable)
	case strings.HasPrefix(err.Error(), "client rate limiter"): // would wait beyond the deadline
		return apperr.New(apperr.ErrClusterTimeout)
	default: // an answer that is not Kubernetes' JSON
		return apperr.New(apperr.ErrNotKubernetes)
	}
}

// denied is what the API server puts before a webhook's own words.
var denied = regexp.MustCompile(`^(.*admission webhook "[^"]*" denied the request: |The request is invalid: )`)

func classifyStatus(s metav1.Status) *apperr.AppError {
	text := func(code string) *apperr.AppError {
		return apperr.New(code).With("text", denied.ReplaceAllString(s.Message, ""))
	}
	details := metav1.StatusDetails{}
	if s.Details != nil {
		details = *s.Details
	}
	causes := func(t metav1.CauseType) bool {
		for _, c := range details.Causes {
			if c.Type == t {
				return true
			}
		}
		return false
	}
	switch code := int(s.Code); {
	case code == http.StatusUnauthorized:
		return apperr.New(apperr.ErrClusterUnauthorized)
	case code == http.StatusForbidden:
		switch {
		case strings.Contains(s.Message, "exceeded quota"):
			return text(apperr.ErrQuotaExceeded)
		case causes(corev1.NamespaceTerminatingCause):
			return apperr.New(apperr.ErrNamespaceMissing)
		case strings.Contains(s.Message, "denied the request"):
			return text(apperr.ErrSpecRejected)
		}
		return text(apperr.ErrClusterForbidden)
	case code == http.StatusNotFound:
		switch {
		case details.Kind == "namespaces":
			return apperr.New(apperr.ErrNamespaceMissing)
		case details.Name == "", causes(metav1.CauseTypeUnexpectedServerResponse): // the path, not the object
			return apperr.New(apperr.ErrKubeVirtMissing)
		case strings.HasPrefix(details.Kind, "virtualmachine"):
			return apperr.New(apperr.ErrVMNotFound)
		}
		return apperr.New(apperr.ErrNotFound)
	case s.Reason == metav1.StatusReasonAlreadyExists:
		return apperr.New(apperr.ErrNameCollision)
	case code == http.StatusConflict:
		return text(apperr.ErrVMState)
	case code == http.StatusUnprocessableEntity, code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge:
		if strings.Contains(s.Message, "exceeded quota") {
			return text(apperr.ErrQuotaExceeded)
		}
		return text(apperr.ErrSpecRejected)
	case code == http.StatusGatewayTimeout, s.Reason == metav1.StatusReasonTimeout:
		return apperr.New(apperr.ErrClusterTimeout)
	case code >= 300 && code < 400:
		return apperr.New(apperr.ErrNotKubernetes)
	default: // 429, 5xx and what nobody expects
		return apperr.New(apperr.ErrClusterDegraded)
	}
}

// refused says that the cluster has read the request and will not do it.
func refused(err error) bool {
	status := apierrors.APIStatus(nil)
	return errors.As(err, &status) && status.Status().Code < 500 && status.Status().Code != http.StatusTooManyRequests
}

// mayHaveHappened says that the request may have been carried out although it
// failed for us: unless it was refused, or no connection was ever made.
func mayHaveHappened(err error) bool {
	if refused(err) || apierrors.IsTooManyRequests(err) {
		return false
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	if open := (*errOpen)(nil); errors.As(err, &open) {
		return false
	}
	switch classify(err).Code {
	case apperr.ErrAddressNotAllowed, apperr.ErrClusterDNS, apperr.ErrClusterTLS, apperr.ErrClusterRefused:
		return false
	}
	return true
}
