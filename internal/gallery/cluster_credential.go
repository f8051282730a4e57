package gallery

import (
	"time"

	"github.com/a-h/templ"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/views"
	"kubevirt-shepherd.io/shepherd/views/paths"
	"kubevirt-shepherd.io/shepherd/views/ui"
)

const (
	oldIdentity = "0d4f7f0e-55a1-4c0f-9e0b-7a1d1f6c2b11"
	newIdentity = "a93c1e52-0b7e-4f6d-8c34-3f5a9de0c7d4"
	oldCA       = "9f2c1b8d77e04a52b6c0f3d1e85a7c9402d6b1f3a8e57c4d90b2f6a1c3e7d580"
	newCA       = "41d7e9a03c5b48f2860e1d9b7fa2c6530e4b8d1f7a93c25e6d08f4b1a7c3e962"
)

func storedFacts() []views.Fact {
	return []views.Fact{
		{Label: "Kind", Value: "bearer token"}, {Label: "Signs in as", Value: "system:serviceaccount:kubevirt-shepherd:kubevirt-shepherd", Mono: true},
		{Label: "Server", Value: "https://fra-prod-1.example.org:6443", Mono: true}, {Label: "Ends", Value: "2026-11-30 (in 6 days)"},
		{Label: "Fingerprint", Value: "5b1c0f77aa93de21", Mono: true}, {Label: "Fingerprint of the CA", Value: oldCA, Mono: true},
		{Label: "Identity of the cluster", Value: oldIdentity, Mono: true}, {Label: "Replaced", Value: "2 times"},
	}
}

func compared(identity, mark, ca string) []views.CompareRow {
	return []views.CompareRow{
		{Label: "Identity of the cluster", Before: oldIdentity, After: identity, Mono: true, Mark: mark},
		{Label: "Server", Before: "https://fra-prod-1.example.org:6443", After: "https://fra-prod-1.example.org:6443", Mono: true},
		{Label: "Kind", Before: "bearer token", After: "bearer token"},
		{Label: "Signs in as", Before: "system:serviceaccount:kubevirt-shepherd:kubevirt-shepherd", After: "system:serviceaccount:kubevirt-shepherd:kubevirt-shepherd", Mono: true},
		{Label: "Rights", Before: "all that Shepherd needs", After: "all that Shepherd needs"},
		{Label: "Ends", Before: "2026-11-30 (in 6 days)", After: "2026-12-20 (in 26 days)", Mark: "warn"},
		{Label: "Fingerprint", Before: "5b1c0f77aa93de21", After: "c7704e19f2ab3d58", Mono: true},
		{Label: "Fingerprint of the CA", Before: oldCA, After: ca, Mono: true},
	}
}

// credentials are the pages of a cluster's credential, and what every page of an
// admin says while the key file is not the right one.
func credentials() map[string]templ.Component {
	of := views.ClusterName{ID: "c1", Name: "fra-prod-1", Environment: domain.Prod}
	admin := viewer("Credential of fra-prod-1", "clusters", "admin", paths.ClusterCredential("c1"))
	ending := &views.EndingView{Text: "The credential of fra-prod-1 ends in 6 days, on 2026-11-30."}
	passed := views.Preflight{Checks: checks(), CanAdd: true}
	for i := range passed.Checks {
		passed.Checks[i].State, passed.Checks[i].Next = domain.CheckOK, ""
	}
	waiting := func(own bool) *views.ReplacementView {
		return &views.ReplacementView{
			ID: "r1", By: "olga", Reason: "The control plane was lost in the fire of Sunday and built anew from the image.", At: before(3 * hour), Until: looked.Add(21 * time.Hour),
			Own: own, Rows: compared(newIdentity, "bad", newCA),
		}
	}
	step := func(outcome views.CredentialOutcome, identity, mark string) views.ClusterCredentialDraftView {
		return views.ClusterCredentialDraftView{
			Of: of, Draft: "d1", File: "fra-prod-1.kubeconfig", Outcome: outcome, Others: 2, Preflight: passed, Rows: compared(identity, mark, oldCA),
			Contexts: []views.ContextChoice{{Name: "shepherd@fra-prod-1", Text: "https://fra-prod-1.example.org:6443, as system:serviceaccount:kubevirt-shepherd:kubevirt-shepherd", Selected: true}},
		}
	}
	rebuilt := step(views.OutcomeRebuilt, newIdentity, "bad")
	rebuilt.Others, rebuilt.Errors = 0, []ui.FieldError{fieldError("reason", "Why it was rebuilt", "a reason is needed")}
	failed := step(views.OutcomeFailed, "", "")
	failed.Preflight = views.Preflight{Checks: checks(), Missing: missingRole}
	elsewhere := step(views.OutcomeElsewhere, newIdentity, "bad")
	elsewhere.Elsewhere = "ams-prod-1"
	locked := admin
	locked.Lockout = &views.LockoutView{
		Why:  "The key file lacks k-5b1c0f77, which sealed credentials that are stored.",
		Next: "Put the right key file back and restart Shepherd. Until then pages show what was last known, approved requests wait, no cluster can be added, and nothing that is stored is overwritten.",
	}
	return map[string]templ.Component{
		"credential":             views.ClusterCredential(admin, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Ending: ending}),
		"credential-ended":       views.ClusterCredential(admin, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Ending: &views.EndingView{Text: "The credential of fra-prod-1 has ended on 2026-11-20.", Ended: true}}),
		"credential-refused":     views.ClusterCredential(admin, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Errors: []ui.FieldError{fieldError("kubeconfig", "Kubeconfig", "This is no kubeconfig.")}}),
		"credential-waits":       views.ClusterCredential(admin, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Waiting: waiting(false)}),
		"credential-waits-own":   views.ClusterCredential(admin, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Waiting: waiting(true)}),
		"credential-locked":      views.ClusterCredential(locked, views.ClusterCredentialView{Of: of, Facts: storedFacts(), Locked: &views.ProblemView{What: "The credential of fra-prod-1 is locked.", Why: "The encryption key k-5b1c0f77 is not in the key file.", Next: "Put the key back into the key file and restart Shepherd. If it is lost for good, the operator guide says how to go on."}}),
		"credential-new":         views.ClusterCredentialDraft(admin, step(views.OutcomeSame, oldIdentity, "")),
		"credential-new-rebuilt": views.ClusterCredentialDraft(admin, rebuilt),
		"credential-new-failed":  views.ClusterCredentialDraft(admin, failed),
		"credential-new-other":   views.ClusterCredentialDraft(admin, elsewhere),
	}
}
