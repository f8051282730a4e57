// Package client talks to the portal's API. client.gen.go is generated from the
// OpenAPI document; this file has what a person's program needs around it.
package client

//go:generate go tool oapi-codegen -config config.yaml ../../docs/openapi.json
