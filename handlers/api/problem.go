package api

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/i18n"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
)

// ProblemType is the media type of errors (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is what an error looks like. Package handlers makes it.
type Problem struct {
	Type      string         `json:"type" example:"/docs/api-guide#errors" doc:"Where errors are explained. The code says which one it is."`
	Title     string         `json:"title" doc:"What happened, in the language of Accept-Language."`
	Status    int            `json:"status" example:"409"`
	Detail    string         `json:"detail,omitempty" doc:"Why, and what to do next."`
	Instance  string         `json:"instance" doc:"Path of the request."`
	Code      string         `json:"code" example:"ALREADY_DECIDED" doc:"Stable code of the error."`
	Params    map[string]any `json:"params,omitempty" doc:"Parameters of the sentences."`
	Errors    []Wrong        `json:"errors,omitempty" doc:"What is wrong with which field or parameter."`
	RequestID string         `json:"request_id" doc:"Number of the request in the log."`
}

// Wrong is what is wrong with one field of the body, or one parameter.
type Wrong struct {
	Field  string         `json:"field" example:"disk_gib"`
	Code   string         `json:"code" example:"OUT_OF_RANGE"`
	Detail string         `json:"detail" doc:"What to do, in the language of Accept-Language."`
	Params map[string]any `json:"params,omitempty"`
}

// WrongField tells the error of one field.
func WrongField(ctx context.Context, e *apperr.AppError) Wrong {
	return Wrong{Field: e.Field(), Code: e.Code, Detail: i18n.Field(i18n.Lang(ctx), e.Code, e.Field(), e.Params), Params: e.Params}
}
