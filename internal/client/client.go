// Package client talks to the portal's API. client.gen.go is generated from the
// OpenAPI document; this file has what a program needs around it.
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

//go:generate go tool oapi-codegen -config config.yaml ../../docs/openapi.json

// timeLimit is for one request: the portal answers within 30 seconds.
const timeLimit = 60 * time.Second

// maxProblem is how much of a problem is read, in bytes.
const maxProblem = 1 << 20

// Open makes a client of the portal at an address, such as
// https://vms.example.com, with a bearer token.
func Open(address, token string) (*ClientWithResponses, error) {
	// A redirect would carry the token to where it does not belong.
	plain := &http.Client{Timeout: timeLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return NewClientWithResponses(strings.TrimSuffix(address, "/")+"/api/v1", WithHTTPClient(checked{plain}),
		WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Accept", "application/json, application/problem+json")
			return nil
		}))
}

// Error is a problem that the portal answered with.
type Error struct{ Problem }

// Error says what happened, why, what to do next, and what is wrong with which
// field.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Title)
	if e.Detail != "" {
		b.WriteString("\n" + e.Detail)
	}
	for _, f := range e.Errors {
		fmt.Fprintf(&b, "\n  %s: %s", f.Field, f.Detail)
	}
	fmt.Fprintf(&b, "\n(%s, request %s)", e.Code, e.RequestId)
	return b.String()
}

// Strange is an answer that does not come from the API: of a proxy, say.
type Strange struct{ Host, Status string }

// Error says who answered what.
func (e *Strange) Error() string {
	return fmt.Sprintf("%s answers %s, and not as the portal's API does", e.Host, e.Status)
}

// checked makes errors of the answers that are problems, so that each operation
// has one way to fail: an *Error, a *Strange, or why there was no answer.
type checked struct{ *http.Client }

// Do sends a request.
func (c checked) Do(r *http.Request) (*http.Response, error) {
	res, err := c.Client.Do(r)
	if err != nil || res.StatusCode < 300 {
		return res, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err != nil {
		return nil, err
	}
	var e Error
	if err := json.Unmarshal(body, &e.Problem); err != nil || e.Code == "" {
		return nil, &Strange{res.Request.URL.Host, res.Status}
	}
	return nil, &e
}
