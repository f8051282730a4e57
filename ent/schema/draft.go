package schema

import "time"

// DraftContext is what may be shown of one context of an uploaded kubeconfig.
type DraftContext struct {
	Name      string         `json:"name"`
	Server    string         `json:"server"`
	Kind      string         `json:"kind"` // token or certificate
	Subject   string         `json:"subject,omitempty"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	Refusal   string         `json:"refusal,omitempty"` // error code
	Params    map[string]any `json:"params,omitempty"`
}
