package domain

// Problem codes: why a VM or a cluster is not well. Their sentences are in
// internal/i18n beside those of the error codes.
const (
	ProblemUnschedulable   = "VM_UNSCHEDULABLE"
	ProblemImagePull       = "VM_IMAGE_PULL"
	ProblemDataVolume      = "VM_DISK_COPY_FAILED"
	ProblemPVCMissing      = "VM_DISK_MISSING"
	ProblemCrashLoop       = "VM_CRASH_LOOP"
	ProblemNotMigratable   = "VM_NOT_MIGRATABLE"
	ProblemSyncFailed      = "VM_SYNC_FAILED" // quota and admission refusals
	ProblemNodeSilent      = "VM_NODE_SILENT"
	ProblemMissing         = "VM_MISSING"
	ProblemCreateFailed    = "VM_CREATE_FAILED"
	ProblemRestartRequired = "VM_RESTART_REQUIRED"
	ProblemSlow            = "VM_SLOW" // on the way for longer than usual
)

// ProblemCodes lists all of them.
func ProblemCodes() []string {
	return []string{ProblemUnschedulable, ProblemImagePull, ProblemDataVolume, ProblemPVCMissing, ProblemCrashLoop, ProblemNotMigratable,
		ProblemSyncFailed, ProblemNodeSilent, ProblemMissing, ProblemCreateFailed, ProblemRestartRequired, ProblemSlow}
}
