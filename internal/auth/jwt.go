package auth

import (
	"context"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

const (
	tokenIssuer   = "kubevirt-shepherd"
	tokenAudience = "kubevirt-shepherd-api"
	minTokenKey   = 32              // bytes: HS256 is no stronger than its key
	skew          = 5 * time.Second // between the clocks of replicas
)

// MaxTokenLifetime is how long a token may live: it cannot be taken back, only
// its user can be disabled.
const MaxTokenLifetime = 24 * time.Hour

// JWT signs programs in by a token. The token says who, never what he may do.
type JWT struct {
	Key domain.Secret // at least 32 random bytes
}

// Type names the provider.
func (JWT) Type() string { return "jwt" }

func (j JWT) key() ([]byte, error) {
	if len(j.Key) < minTokenKey {
		return nil, errors.New("auth: the key for tokens is too short")
	}
	return j.Key, nil
}

// Issue makes a token for a user. OUT_OF_RANGE when ttl is not between a
// second and MaxTokenLifetime.
func (j JWT) Issue(userID string, ttl time.Duration) (string, error) {
	key, err := j.key()
	if err != nil {
		return "", err
	}
	if _, err := uuid.Parse(userID); err != nil {
		return "", apperr.New(apperr.ErrNotFound)
	}
	if ttl < time.Second || ttl > MaxTokenLifetime {
		return "", apperr.Field("ttl", apperr.ErrOutOfRange)
	}
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience}, Subject: userID,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)), ID: uuid.NewString(),
	}).SignedString(key)
}

// Authenticate checks a token: HS256 with our key, our issuer and audience, not
// expired, not from the future, and not longer-lived than we make them.
// SIGNED_OUT otherwise.
func (j JWT) Authenticate(_ context.Context, c Credentials) (userID string, err error) {
	key, err := j.key()
	if err != nil {
		return "", err
	}
	var claims jwt.RegisteredClaims
	_, err = jwt.ParseWithClaims(c.Token, &claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithLeeway(skew))
	if err != nil {
		return "", apperr.New(apperr.ErrSignedOut).Because(err)
	}
	if claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > MaxTokenLifetime {
		return "", apperr.New(apperr.ErrSignedOut).Because(errors.New("lifetime of the token"))
	}
	id, err := uuid.Parse(claims.Subject)
	if err != nil {
		return "", apperr.New(apperr.ErrSignedOut).Because(errors.New("subject of the token"))
	}
	return id.String(), nil
}
