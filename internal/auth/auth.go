// Package auth finds out who somebody is: the extension interface AuthProvider
// with its first implementation, local accounts for people (package token has
// the second one, tokens for programs), the JWT of those tokens, and the store of
// browser sessions. What a person may do
// is no part of it: rights are read from the database at every request.
package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Credentials are what somebody shows. Which fields count depends on the provider.
type Credentials struct {
	Username, Password string
	Token              string
}

// String hides everything: the name may be a password typed into the wrong field.
func (Credentials) String() string { return "[REDACTED]" }

// GoString hides everything from %#v.
func (Credentials) GoString() string { return "[REDACTED]" }

// Format hides everything from every verb of fmt.
func (Credentials) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[REDACTED]") }

// LogValue hides everything from slog.
func (Credentials) LogValue() slog.Value { return slog.StringValue("[REDACTED]") }

// MarshalJSON refuses.
func (Credentials) MarshalJSON() ([]byte, error) {
	return nil, errors.New("auth: credentials cannot be written down")
}

// AuthProvider is a way to sign in (contract 7 of the seed).
type AuthProvider interface {
	// Authenticate answers with the id of the user. BAD_CREDENTIALS or
	// SIGNED_OUT say no, without saying what was wrong.
	Authenticate(ctx context.Context, c Credentials) (userID string, err error)
	Type() string
}
