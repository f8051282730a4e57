package schema

import (
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// DraftContext is what may be shown of one context of an uploaded kubeconfig.
type DraftContext struct {
	Name      string           `json:"name"`
	Cluster   string           `json:"cluster"` // as the file calls it
	Server    string           `json:"server"`
	Kind      string           `json:"kind"` // token or certificate
	Subject   string           `json:"subject,omitempty"`
	ExpiresAt *time.Time       `json:"expires_at,omitempty"`
	Warnings  []domain.Problem `json:"warnings,omitempty"`
	Login     string           `json:"login,omitempty"`   // the program that signs in
	Refusal   string           `json:"refusal,omitempty"` // error code
	Params    map[string]any   `json:"params,omitempty"`
}
