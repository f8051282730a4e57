package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// VMSample says how many VMs of a system were in a state on a cluster at an
// hour. It is written once and outlives what it counted, so it has no edges.
type VMSample struct{ ent.Schema }

// Fields of VMSample.
func (VMSample) Fields() []ent.Field {
	return []ent.Field{
		field.Time("at").Immutable().Comment("full hour, UTC"),
		field.UUID("system_id", uuid.UUID{}).Immutable().Comment("whose members may see it"),
		field.UUID("cluster_id", uuid.UUID{}).Immutable(),
		field.Enum("environment").Values(strs(domain.Environments())...).Immutable(),
		field.Enum("state").Values(strs(domain.VMStates())...).Immutable(),
		field.Int("vms").Positive().Immutable(),
	}
}

// Indexes of VMSample.
func (VMSample) Indexes() []ent.Index {
	return []ent.Index{index.Fields("at", "system_id", "cluster_id", "state").Unique()}
}
