// Package audit writes and reads the record of what people and the platform
// did. An entry is written in the transaction of the change it records: either
// both are there or none is.
package audit

import (
	"context"
	"maps"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/auditlog"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Entry is one line of the record. Details hold named facts only, never an
// input as it came and never a secret.
type Entry struct {
	Action       string // noun.verb, such as ticket.approve
	ResourceType string // system service vm ticket cluster namespace user session
	ResourceID   string
	ResourceName string
	SystemID     string // whose members may read it; "" = admins and auditors only
	Refused      bool   // somebody tried and was refused
	Failed       bool   // it was tried and went wrong
	Reason       string
	Details      map[string]any
	// Before and After are fields of the thing. Those that are equal, and those
	// that the allow-list does not have, are left out.
	Before, After map[string]any
}

// Caps of free text, in runes.
const (
	maxReason = 1000
	maxVia    = 100
)

// Write adds an entry in tx.
func Write(ctx context.Context, tx *ent.Tx, actor domain.Actor, e Entry) error {
	return create(tx.AuditLog.Create(), actor, e).Exec(ctx)
}

// Record adds an entry outside a transaction: for what was refused, where
// there is no change to go with.
func Record(ctx context.Context, c *ent.Client, actor domain.Actor, e Entry) error {
	return create(c.AuditLog.Create(), actor, e).Exec(ctx)
}

func create(row *ent.AuditLogCreate, actor domain.Actor, e Entry) *ent.AuditLogCreate {
	result := auditlog.ResultDone
	switch {
	case e.Refused:
		result = auditlog.ResultRefused
	case e.Failed:
		result = auditlog.ResultFailed
	}
	name := actor.Username
	if name == "" {
		name = "anonymous"
	}
	via := actor.Via
	if t := actor.Token; t != nil {
		via = domain.Via{Kind: domain.ViaToken, ID: t.ID, Name: t.Name}
	}
	row.SetActor(name).SetAction(e.Action).SetResourceType(e.ResourceType).SetResourceID(e.ResourceID).
		SetResourceName(e.ResourceName).SetResult(result).SetRequestID(actor.RequestID).SetIPAddress(actor.IP)
	if e.SystemID != "" {
		row.SetSystemID(e.SystemID)
	}
	for _, behind := range []struct {
		value string
		set   func(string) *ent.AuditLogCreate
	}{
		{actor.UserID, row.SetActorID}, {actor.OnBehalfOf.ID, row.SetOnBehalfOfID}, {actor.OnBehalfOf.Username, row.SetOnBehalfOf},
		{string(via.Kind), row.SetVia}, {via.ID, row.SetViaID}, {domain.CleanText(via.Name, maxVia), row.SetViaName},
	} {
		if behind.value != "" {
			behind.set(behind.value)
		}
	}
	if changes := changed(e.ResourceType, e.Before, e.After); len(changes) > 0 {
		row.SetChanges(changes)
	}
	if e.Reason != "" {
		row.SetReason(domain.CleanText(e.Reason, maxReason))
	}
	if actor.BreakGlass != nil {
		e.Details = maps.Clone(e.Details)
		if e.Details == nil {
			e.Details = map[string]any{}
		}
		e.Details["break_glass"] = actor.BreakGlass.Reason
	}
	if len(e.Details) > 0 {
		row.SetDetails(e.Details)
	}
	return row
}
