package auth

import (
	"errors"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// TokenPrefix stands before the JWT of a program, so that secret scanners know
// the thing when it lies in a repository: shp_ and three parts with dots.
const TokenPrefix = "shp_"

const (
	tokenIssuer   = "kubevirt-shepherd"
	tokenAudience = "kubevirt-shepherd-api"
	minTokenKey   = 32              // bytes: HS256 is no stronger than its key
	maxToken      = 1024            // bytes; ours have about 400
	skew          = 5 * time.Second // between the clocks of replicas
)

// JWT signs the tokens of programs and checks what programs show. A token says
// which token it is and whose; what it may do, and whether it is good still,
// stands in the database.
type JWT struct {
	KeyID string                        // of the key that signs
	Key   func(id string) domain.Secret // by its id, at least 32 random bytes; nil when there is none
}

// Claims are what a token says.
type Claims struct {
	TokenID, UserID     uuid.UUID
	IssuedAt, ExpiresAt time.Time // exact to a second
}

// Sign makes the text that a program shows.
func (j JWT) Sign(c Claims) (string, error) {
	key, err := j.key(j.KeyID)
	if err != nil {
		return "", err
	}
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience}, Subject: c.UserID.String(), ID: c.TokenID.String(),
		IssuedAt: jwt.NewNumericDate(c.IssuedAt), ExpiresAt: jwt.NewNumericDate(c.ExpiresAt),
	})
	t.Header["kid"] = j.KeyID
	text, err := t.SignedString([]byte(key))
	if err != nil {
		return "", err
	}
	return TokenPrefix + text, nil
}

// Verify reads a token: with our prefix, HS256 with a key of ours that its kid
// names, our issuer and audience, not expired, not from the future, and not
// longer-lived than we make them. SIGNED_OUT otherwise.
func (j JWT) Verify(text string) (Claims, error) {
	bad := func(why error) (Claims, error) { return Claims{}, apperr.New(apperr.ErrSignedOut).Because(why) }
	text, ours := strings.CutPrefix(text, TokenPrefix)
	if !ours || len(text) > maxToken {
		return bad(errors.New("no token of ours"))
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(text, &claims, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		key, err := j.key(id)
		return []byte(key), err
	}, jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithLeeway(skew))
	if err != nil {
		return bad(err)
	}
	c := Claims{}
	if claims.IssuedAt == nil || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > domain.MaxTokenLifetime {
		return bad(errors.New("lifetime of the token"))
	}
	c.IssuedAt, c.ExpiresAt = claims.IssuedAt.UTC(), claims.ExpiresAt.UTC()
	if c.UserID, err = uuid.Parse(claims.Subject); err != nil {
		return bad(errors.New("subject of the token"))
	}
	if c.TokenID, err = uuid.Parse(claims.ID); err != nil {
		return bad(errors.New("id of the token"))
	}
	return c, nil
}

func (j JWT) key(id string) (domain.Secret, error) {
	if j.Key == nil || id == "" {
		return nil, errors.New("auth: a token without a key")
	}
	key := j.Key(id)
	if len(key) < minTokenKey {
		return nil, errors.New("auth: no such key for tokens, or too short a one")
	}
	return key, nil
}
