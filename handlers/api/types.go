package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Cursor of the following page, for the parameter after. Not there on the last page."`
}

func (p Page[T]) next() string { return p.Next }

// paging are the parameters of a list with pages.
type paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many entries a page has at most."`
	After string `query:"after" maxLength:"400" doc:"Cursor: next of the page before."`
}

func (p paging) page() listing.Page { return listing.Page{After: p.After, Limit: p.Limit} }

// items makes a page of a use case's one.
func items[R, T any](rows []R, next string, view func(R) T) Page[T] {
	p := Page[T]{Items: make([]T, 0, len(rows)), Next: next}
	for _, r := range rows {
		p.Items = append(p.Items, view(r))
	}
	return p
}

// Reason is why something is not well, or cannot be done.
type Reason struct {
	Code    string         `json:"code" example:"VM_UNSCHEDULABLE" doc:"Stable code."`
	Message string         `json:"message" doc:"What happened, why, and what to do next, in the language of Accept-Language."`
	Params  map[string]any `json:"params,omitempty" doc:"Parameters of the message."`
}

// problem tells a problem of a VM or a cluster, nil when there is none.
func problem(ctx context.Context, p domain.Problem) *Reason {
	if p.IsZero() {
		return nil
	}
	return &Reason{Code: p.Code, Message: i18n.Problem(i18n.Lang(ctx), p).Text(), Params: p.Params}
}

// refusal tells why something cannot be done, nil when it can.
func refusal(ctx context.Context, e *apperr.AppError) *Reason {
	if e == nil {
		return nil
	}
	return &Reason{Code: e.Code, Message: i18n.Error(i18n.Lang(ctx), e.Code, e.Params).Text(), Params: e.Params}
}

// Role is a role that somebody has.
type Role struct {
	Role        string `json:"role" enum:"admin,approver,auditor,owner,maintainer,viewer"`
	Environment string `json:"environment,omitempty" enum:"test,prod" doc:"Only in this environment. Not there: in all of them."`
	SystemID    string `json:"system_id,omitempty" format:"uuid" doc:"Only in this system. Not there: platform-wide."`
	Via         string `json:"via,omitempty" doc:"Name of the group that has it. Not there: the person's own."`
}

func roles(list []domain.Binding) []Role {
	all := make([]Role, 0, len(list))
	for _, b := range list {
		all = append(all, roleOf(b))
	}
	return all
}

func roleOf(b domain.Binding) Role {
	return Role{Role: string(b.Role), Environment: string(b.Environment), SystemID: b.SystemID, Via: b.Via}
}

// Spec is what a VM is made of.
type Spec struct {
	TemplateID      string `json:"template_id" format:"uuid"`
	Template        string `json:"template" example:"debian-12"`
	TemplateVersion int    `json:"template_version" example:"1"`
	SizeID          string `json:"size_id" format:"uuid"`
	Size            string `json:"size" example:"small"`
	CPU             int    `json:"cpu" doc:"vCPU of one VM." example:"2"`
	MemoryMiB       int    `json:"memory_mib" doc:"Memory of one VM." example:"4096"`
	DiskGiB         int    `json:"disk_gib" doc:"Root disk of one VM." example:"20"`
	Count           int    `json:"count" doc:"How many VMs." example:"2"`
}

func spec(s domain.ChangeableSpec) Spec {
	return Spec{
		TemplateID: s.TemplateID, Template: s.Template, TemplateVersion: s.Version, SizeID: s.SizeID, Size: s.Size,
		CPU: s.CPU, MemoryMiB: s.MemoryMiB, DiskGiB: s.DiskGiB, Count: s.Count,
	}
}

// ifMatch is the condition of a change: that nobody else changed it meanwhile.
type ifMatch struct {
	IfMatch string `header:"If-Match" doc:"ETag of what was read. When it is not the present one, nothing is changed and the answer is 412."`
}

func (c ifMatch) holds(now tagged) error {
	if c.IfMatch == "" || c.IfMatch == "*" || c.IfMatch == quoted(now.etag()) {
		return nil
	}
	return apperr.New(apperr.ErrPrecondition)
}

func quoted(tag string) string { return `"` + tag + `"` }

// textTag is the version of a text that is changed as a whole.
func textTag(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// required is the error of what is not there, where the zero value would mean
// something to the use case.
func required(field string) error { return apperr.Field(field, apperr.ErrRequired) }

// seconds is a length of time in whole seconds.
func seconds(d time.Duration) int { return int(d / time.Second) }
