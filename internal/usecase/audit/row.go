package audit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// exported is one line of JSONL; CSV has the same columns.
type exported struct {
	Entry        int                      `json:"entry"`
	At           string                   `json:"at"`
	Actor        string                   `json:"actor"`
	Action       string                   `json:"action"`
	ResourceType string                   `json:"resource_type"`
	ResourceID   string                   `json:"resource_id"`
	ResourceName string                   `json:"resource_name"`
	SystemID     string                   `json:"system_id"`
	Result       string                   `json:"result"`
	Reason       string                   `json:"reason"`
	Details      map[string]any           `json:"details"`
	RequestID    string                   `json:"request_id"`
	IP           string                   `json:"ip_address"`
	ActorID      string                   `json:"actor_id"`
	OnBehalfOfID string                   `json:"on_behalf_of_id"`
	OnBehalfOf   string                   `json:"on_behalf_of"`
	Via          string                   `json:"via"`
	ViaID        string                   `json:"via_id"`
	ViaName      string                   `json:"via_name"`
	Changes      map[string]domain.Change `json:"changes"`
}

var columns = []string{
	"entry", "at", "actor", "action", "resource_type", "resource_id", "resource_name", "system_id", "result", "reason", "details", "request_id", "ip_address",
	"actor_id", "on_behalf_of_id", "on_behalf_of", "via", "via_id", "via_name", "changes",
}

func exportedOf(r *ent.AuditLog) exported {
	return exported{
		r.ID, r.CreatedAt.UTC().Format(time.RFC3339Nano), r.Actor, r.Action, r.ResourceType, r.ResourceID, r.ResourceName, r.SystemID, string(r.Result),
		r.Reason, r.Details, r.RequestID, r.IPAddress, r.ActorID, r.OnBehalfOfID, r.OnBehalfOf, r.Via, r.ViaID, r.ViaName, r.Changes,
	}
}

// The columns of the two canonical forms, see database.AuditLink.
const (
	columnsOfFirst  = 13
	columnsOfSecond = 20
)

// epoch is what PostgreSQL counts time from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// decode reads an entry in its canonical form.
func decode(row []byte) (x exported, at time.Time, err error) {
	broken := errors.New("not an entry in its canonical form")
	number := func() uint32 {
		if len(row) < 4 {
			err, row = broken, nil
			return 0
		}
		n := binary.BigEndian.Uint32(row)
		row = row[4:]
		return n
	}
	columns := number()
	if columns != columnsOfFirst && columns != columnsOfSecond {
		return x, at, broken
	}
	cells := make([][]byte, columnsOfSecond)
	for i := range columns {
		number() // type
		size := int32(number())
		if size == -1 {
			continue
		}
		if err != nil || size < 0 || int(size) > len(row) {
			return x, at, broken
		}
		cells[i], row = row[:size], row[size:]
	}
	if err != nil || len(row) > 0 || len(cells[0]) != 8 || len(cells[1]) != 8 {
		return x, at, broken
	}
	x.Entry = int(binary.BigEndian.Uint64(cells[0]))
	at = epoch.Add(time.Duration(binary.BigEndian.Uint64(cells[1])) * time.Microsecond)
	x.At = at.Format(time.RFC3339Nano)
	for i, to := range map[int]*string{
		2: &x.Actor, 3: &x.Action, 4: &x.ResourceType, 5: &x.ResourceID, 6: &x.ResourceName, 7: &x.SystemID, 8: &x.Result, 9: &x.Reason, 11: &x.RequestID,
		12: &x.IP, 13: &x.ActorID, 14: &x.OnBehalfOfID, 15: &x.OnBehalfOf, 16: &x.Via, 17: &x.ViaID, 18: &x.ViaName,
	} {
		*to = string(cells[i])
	}
	for i, to := range map[int]any{10: &x.Details, 19: &x.Changes} {
		if len(cells[i]) == 0 {
			continue
		}
		if cells[i][0] != 1 || json.Unmarshal(cells[i][1:], to) != nil { // the version of the form of jsonb
			return x, at, broken
		}
	}
	return x, at, nil
}
