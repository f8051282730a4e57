package auth_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/auth"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

func TestJWT(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	j := auth.JWT{Key: key}
	user := uuid.NewString()
	token, err := j.Issue(user, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := j.Authenticate(t.Context(), auth.Credentials{Token: token}); err != nil || id != user {
		t.Fatalf("%q, %v", id, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", j, j, j); strings.Contains(s, "7, 7") || strings.Contains(s, "7 7") {
		t.Error("the key is printed")
	}

	for _, ttl := range []time.Duration{0, -time.Hour, 25 * time.Hour} {
		if _, err := j.Issue(user, ttl); apperr.CodeOf(err) != apperr.ErrOutOfRange {
			t.Errorf("lifetime %v: %v", ttl, err)
		}
	}
	if _, err := (auth.JWT{Key: key[:31]}).Issue(user, time.Hour); err == nil {
		t.Error("a short key signs")
	}
	if _, err := (auth.JWT{}).Authenticate(t.Context(), auth.Credentials{Token: token}); err == nil {
		t.Error("no key verifies")
	}

	now := time.Now()
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{"iss": "kubevirt-shepherd", "aud": "kubevirt-shepherd-api", "sub": user, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		change(c)
		return c
	}
	sign := func(m jwt.SigningMethod, k any, c jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(m, c).SignedString(k)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	same := func(jwt.MapClaims) {}
	if _, err := j.Authenticate(t.Context(), auth.Credentials{Token: sign(jwt.SigningMethodHS256, key, claims(same))}); err != nil {
		t.Fatalf("the test makes no good tokens: %v", err)
	}
	set := func(k string, v any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
	}
	bad := map[string]string{
		"empty": "", "garbage": "a.b.c",
		"other key":  sign(jwt.SigningMethodHS256, bytes.Repeat([]byte{8}, 32), claims(same)),
		"none":       sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(same)),
		"HS512":      sign(jwt.SigningMethodHS512, key, claims(same)),
		"cut":        token[:len(token)-4],
		"no end":     sign(jwt.SigningMethodHS256, key, claims(set("exp", nil))),
		"ended":      sign(jwt.SigningMethodHS256, key, claims(set("exp", now.Add(-time.Minute).Unix()))),
		"no start":   sign(jwt.SigningMethodHS256, key, claims(set("iat", nil))),
		"future":     sign(jwt.SigningMethodHS256, key, claims(set("iat", now.Add(time.Minute).Unix()))),
		"long-lived": sign(jwt.SigningMethodHS256, key, claims(set("exp", now.Add(48*time.Hour).Unix()))),
		"issuer":     sign(jwt.SigningMethodHS256, key, claims(set("iss", "other"))),
		"no issuer":  sign(jwt.SigningMethodHS256, key, claims(set("iss", nil))),
		"audience":   sign(jwt.SigningMethodHS256, key, claims(set("aud", "other"))),
		"no aud":     sign(jwt.SigningMethodHS256, key, claims(set("aud", nil))),
		"subject":    sign(jwt.SigningMethodHS256, key, claims(set("sub", "admin"))),
	}
	for name, token := range bad {
		if id, err := j.Authenticate(t.Context(), auth.Credentials{Token: token}); id != "" || apperr.CodeOf(err) != apperr.ErrSignedOut {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}
