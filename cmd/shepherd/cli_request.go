package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/client"
)

// number is the number of a request, with or without TKT-.
func number(word string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(word), "TKT-"))
	if err != nil || n < 1 {
		return 0, usageError(fmt.Sprintf("%q is no number of a request", word))
	}
	return n, nil
}

func requestCreate(ctx context.Context, args []string) error {
	s := newSession("request create")
	service := s.flags.String("service", "", "`SYSTEM/SERVICE`, or the service's id")
	env := s.flags.String("env", "", "test or prod, where the service's name is not enough")
	template := s.flags.String("template", "", "name or id of the template")
	size := s.flags.String("size", "", "name or id of the size")
	count := s.flags.Int("count", 1, "how many VMs")
	disk := s.flags.Int("disk", 0, "`GiB` of each VM's disk; 0: what the size proposes")
	keys := s.flags.String("ssh-keys", "", "`file` with SSH public keys")
	reason := s.flags.String("reason", "", "why")
	dryRun := s.flags.Bool("dry-run", false, "ask every rule and keep nothing")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	body := client.NewRequest{Count: *count, DiskGib: *disk, Reason: *reason}
	sv, err := s.service(ctx, *service, *env)
	if err != nil {
		return err
	}
	body.ServiceId = sv.Id
	options, err := s.GetRequestOptionsWithResponse(ctx)
	if err != nil {
		return err
	}
	t, err := named("template", *template, options.JSON200.Templates, func(t client.TemplateOption) (string, []string) { return t.Id.String(), []string{t.Name} })
	if err != nil {
		return err
	}
	z, err := named("size", *size, options.JSON200.Sizes, func(z client.SizeOption) (string, []string) { return z.Id.String(), []string{z.Name} })
	if err != nil {
		return err
	}
	body.TemplateId, body.SizeId = t.Id, z.Id
	if body.DiskGib == 0 {
		body.DiskGib = max(z.DiskGib, t.MinDiskGib)
	}
	if *keys != "" {
		text, err := os.ReadFile(*keys)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				body.SshKeys = append(body.SshKeys, line)
			}
		}
	}
	got, err := once(ctx, func(key *string) (*client.CreateRequestResponse, error) {
		return s.CreateRequestWithResponse(ctx, &client.CreateRequestParams{IdempotencyKey: key, DryRun: dryRun}, body)
	})
	switch {
	case err != nil:
		return err
	case got.JSON201 == nil:
		return s.said(map[string]bool{"dry_run": true}, "Everything is right. Nothing was asked.")
	}
	r := got.JSON201
	return s.said(got.Body, "TKT-%d: %s in %s/%s. %s", r.Number, r.Title, r.System, r.Service, standing(*r))
}

// standing says in words how a request stands.
func standing(r client.Request) string {
	text := "It is " + strings.ToLower(strings.ReplaceAll(string(r.Status), "_", " ")) + "."
	if len(r.Deciders) > 0 {
		text += " Can decide: " + strings.Join(r.Deciders, ", ") + "."
	}
	if r.Problem.Message != "" {
		text += " " + r.Problem.Message
	}
	return text
}

func requestList(ctx context.Context, args []string) error {
	s := newSession("request list")
	everybody := s.flags.Bool("all", false, "also those of others")
	status := s.flags.String("status", "", "only these, such as PENDING_APPROVAL,FAILED")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	p := client.ListRequestsParams{All: everybody}
	if *status != "" {
		var list []client.ListRequestsParamsStatus
		for word := range strings.SplitSeq(strings.ToUpper(*status), ",") {
			list = append(list, client.ListRequestsParamsStatus(word))
		}
		p.Status = &list
	}
	list, err := all(func(after *string) ([]client.RequestRow, string, error) {
		p.After = after
		r, err := s.ListRequestsWithResponse(ctx, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
	if err != nil {
		return err
	}
	return s.requests(list)
}

func (s *session) requests(list []client.RequestRow) error {
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{
			fmt.Sprintf("TKT-%d", r.Number), string(r.Operation), r.Title, r.System + "/" + r.Service, string(r.Environment), string(r.Status), r.Requester, age(r.CreatedAt),
		})
	}
	return s.table(list, "REQUEST OPERATION TITLE SERVICE ENV STATUS REQUESTER AGE", rows)
}

// age is how long ago something was, in its largest unit.
func age(at time.Time) string {
	switch d := time.Since(at); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func requestGet(ctx context.Context, args []string) error {
	s := newSession("request get")
	words, err := s.open(args, 1)
	if err != nil {
		return err
	}
	n, err := number(words[0])
	if err != nil {
		return err
	}
	got, err := s.GetRequestWithResponse(ctx, n)
	if err != nil {
		return err
	}
	r := got.JSON200
	if err := s.said(got.Body, "TKT-%d: %s in %s/%s (%s), asked by %s. %s", r.Number, r.Title, r.System, r.Service, r.Environment, r.Requester, standing(*r)); err != nil || *s.output == "json" {
		return err
	}
	if r.DecisionReason != "" {
		fmt.Fprintf(s.out, "%s: %s\n", r.Approver, r.DecisionReason)
	}
	var rows [][]string
	for _, m := range r.Vms {
		rows = append(rows, []string{m.Name, m.State, string(m.Health), m.Problem.Message})
	}
	if len(rows) == 0 {
		return nil
	}
	return s.table(nil, "VM STATE HEALTH PROBLEM", rows)
}

func requestWithdraw(ctx context.Context, args []string) error {
	s := newSession("request withdraw")
	words, err := s.open(args, 1)
	if err != nil {
		return err
	}
	n, err := number(words[0])
	if err != nil {
		return err
	}
	got, err := once(ctx, func(key *string) (*client.WithdrawRequestResponse, error) {
		return s.WithdrawRequestWithResponse(ctx, n, &client.WithdrawRequestParams{IdempotencyKey: key})
	})
	if err != nil {
		return err
	}
	return s.said(got.Body, "TKT-%d is withdrawn.", n)
}

func approvalList(ctx context.Context, args []string) error {
	s := newSession("approval list")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	var p client.ListApprovalsParams
	list, err := all(func(after *string) ([]client.RequestRow, string, error) {
		p.After = after
		r, err := s.ListApprovalsWithResponse(ctx, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
	if err != nil {
		return err
	}
	return s.requests(list)
}

func approve(ctx context.Context, args []string) error {
	s := newSession("approve")
	cluster := s.flags.String("cluster", "", "name or id of the cluster for new VMs; not needed when only one fits")
	reason := s.flags.String("reason", "", "what the requester reads")
	return s.decide(ctx, args, func(t client.Approval, d *client.Decision) error {
		d.Decision, d.Reason = client.DecisionDecisionApprove, optional[string](*reason)
		if *cluster == "" {
			return nil
		}
		c, err := named("cluster", *cluster, t.Clusters, func(c client.Placement) (string, []string) { return c.Id.String(), []string{c.Name} })
		d.ClusterId = &c.Id
		return err
	})
}

func reject(ctx context.Context, args []string) error {
	s := newSession("reject")
	reason := s.flags.String("reason", "", "why; the requester reads it")
	return s.decide(ctx, args, func(_ client.Approval, d *client.Decision) error {
		d.Decision, d.Reason = client.DecisionDecisionReject, optional[string](*reason)
		return nil
	})
}

// decide reads a request and sends the decision about what was read. It says
// what it decides, so that nobody signs blindly.
func (s *session) decide(ctx context.Context, args []string, fill func(client.Approval, *client.Decision) error) error {
	words, err := s.open(args, 1)
	if err != nil {
		return err
	}
	n, err := number(words[0])
	if err != nil {
		return err
	}
	t, err := s.GetApprovalWithResponse(ctx, n)
	if err != nil {
		return err
	}
	d := client.Decision{Version: t.JSON200.Version, SpecHash: t.JSON200.SpecHash}
	if err := fill(*t.JSON200, &d); err != nil {
		return err
	}
	got, err := once(ctx, func(key *string) (*client.DecideResponse, error) {
		return s.DecideWithResponse(ctx, n, &client.DecideParams{IdempotencyKey: key}, d)
	})
	if err != nil {
		return err
	}
	r := got.JSON200
	what := fmt.Sprintf("%s in %s/%s (%s), asked by %s", r.Title, r.System, r.Service, r.Environment, r.Requester)
	if d.Decision == client.DecisionDecisionReject {
		return s.said(got.Body, "TKT-%d is rejected: %s.", n, what)
	}
	return s.said(got.Body, "TKT-%d is approved: %s.", n, what)
}

// service finds a service by SYSTEM/SERVICE or its id.
func (s *session) service(ctx context.Context, word, env string) (client.Service, error) {
	if word == "" {
		return client.Service{}, usageError("-service is needed: SYSTEM/SERVICE, or an id")
	}
	if id, err := uuid.Parse(word); err == nil {
		r, err := s.GetServiceWithResponse(ctx, id)
		if err != nil {
			return client.Service{}, err
		}
		return *r.JSON200, nil
	}
	list, err := s.services(ctx, nil)
	if err != nil {
		return client.Service{}, err
	}
	var here []client.Service
	for _, sv := range list {
		if env == "" || string(sv.Environment) == env {
			here = append(here, sv)
		}
	}
	return named("service", word, here, func(sv client.Service) (string, []string) { return sv.Id.String(), []string{sv.System + "/" + sv.Name} })
}

func (s *session) services(ctx context.Context, system *uuid.UUID) ([]client.Service, error) {
	p := client.ListServicesParams{SystemId: system}
	return all(func(after *string) ([]client.Service, string, error) {
		p.After = after
		r, err := s.ListServicesWithResponse(ctx, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
}
