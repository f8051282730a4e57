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
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// ring is JWT with these keys, of which the first signs.
func ring(ids ...string) auth.JWT {
	return auth.JWT{KeyID: ids[0], Key: func(id string) domain.Secret {
		for _, has := range ids {
			if has == id {
				return bytes.Repeat([]byte(id[:1]), 32)
			}
		}
		return nil
	}}
}

func TestJWT(t *testing.T) {
	j := ring("a")
	now := time.Now().UTC().Truncate(time.Second)
	made := auth.Claims{TokenID: uuid.New(), UserID: uuid.New(), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	token, err := j.Sign(made)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := j.Verify(token); err != nil || got != made {
		t.Fatalf("%+v, %v", got, err)
	}
	if !strings.HasPrefix(token, "shp_eyJ") {
		t.Errorf("%.8s: no prefix that a scanner could know", token)
	}
	if s := fmt.Sprintf("%v %+v %#v", j, j, j); strings.Contains(s, "97") || strings.Contains(s, "aaa") {
		t.Errorf("the key is printed: %s", s)
	}
	for _, bad := range []auth.JWT{{}, {KeyID: "a"}, {KeyID: "a", Key: func(string) domain.Secret { return make([]byte, 31) }}} {
		if _, err := bad.Sign(made); err == nil {
			t.Error("signs without a good key")
		}
		if _, err := bad.Verify(token); apperr.CodeOf(err) != apperr.ErrSignedOut {
			t.Errorf("verifies without a good key: %v", err)
		}
	}

	key := []byte(strings.Repeat("a", 32))
	claims := func(change func(jwt.MapClaims)) jwt.MapClaims {
		c := jwt.MapClaims{
			"iss": "kubevirt-shepherd", "aud": "kubevirt-shepherd-api", "sub": made.UserID.String(), "jti": made.TokenID.String(),
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}
		change(c)
		return c
	}
	sign := func(m jwt.SigningMethod, kid, k any, c jwt.MapClaims) string {
		n := jwt.NewWithClaims(m, c)
		if kid != nil {
			n.Header["kid"] = kid
		}
		s, err := n.SignedString(k)
		if err != nil {
			t.Fatal(err)
		}
		return "shp_" + s
	}
	hs256 := func(c jwt.MapClaims) string { return sign(jwt.SigningMethodHS256, "a", key, c) }
	same := func(jwt.MapClaims) {}
	if _, err := j.Verify(hs256(claims(same))); err != nil {
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
		"empty": "", "prefix alone": "shp_", "garbage": "shp_a.b.c", "long": token + strings.Repeat("x", 1<<20),
		"no prefix": strings.TrimPrefix(token, "shp_"), "prefix twice": "shp_" + token,
		"other key":    sign(jwt.SigningMethodHS256, "a", bytes.Repeat([]byte{8}, 32), claims(same)),
		"unknown kid":  sign(jwt.SigningMethodHS256, "b", key, claims(same)),
		"kid a number": sign(jwt.SigningMethodHS256, 1, key, claims(same)),
		"no kid":       sign(jwt.SigningMethodHS256, nil, key, claims(same)),
		"none":         sign(jwt.SigningMethodNone, "a", jwt.UnsafeAllowNoneSignatureType, claims(same)),
		"HS512":        sign(jwt.SigningMethodHS512, "a", key, claims(same)),
		"cut":          token[:len(token)-4],
		"no end":       hs256(claims(set("exp", nil))),
		"ended":        hs256(claims(set("exp", now.Add(-time.Minute).Unix()))),
		"no start":     hs256(claims(set("iat", nil))),
		"future":       hs256(claims(set("iat", now.Add(time.Minute).Unix()))),
		"long-lived":   hs256(claims(set("exp", now.Add(366*24*time.Hour).Unix()))),
		"issuer":       hs256(claims(set("iss", "other"))),
		"no issuer":    hs256(claims(set("iss", nil))),
		"audience":     hs256(claims(set("aud", "other"))),
		"no aud":       hs256(claims(set("aud", nil))),
		"subject":      hs256(claims(set("sub", "admin"))),
		"id":           hs256(claims(set("jti", "1"))),
		"no id":        hs256(claims(set("jti", nil))),
	}
	for name, token := range bad {
		if c, err := j.Verify(token); c != (auth.Claims{}) || apperr.CodeOf(err) != apperr.ErrSignedOut {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// A new key signs; tokens of the one before are good as long as it is kept.
func TestKeyRotation(t *testing.T) {
	now := time.Now()
	c := auth.Claims{TokenID: uuid.New(), UserID: uuid.New(), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	old, err := ring("a").Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	rotated := ring("b", "a")
	young, err := rotated.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, young} {
		if _, err := rotated.Verify(token); err != nil {
			t.Error(err)
		}
	}
	if _, err := ring("b").Verify(old); apperr.CodeOf(err) != apperr.ErrSignedOut {
		t.Errorf("a key that was thrown away: %v", err)
	}
	if _, err := ring("a").Verify(young); apperr.CodeOf(err) != apperr.ErrSignedOut {
		t.Errorf("a key that is not there yet: %v", err)
	}
}
