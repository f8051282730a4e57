package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"kubevirt-shepherd.io/shepherd/internal/client"
)

func vmList(ctx context.Context, args []string) error {
	s := newSession("vm list")
	service := s.flags.String("service", "", "only those of `SYSTEM/SERVICE`")
	env := s.flags.String("env", "", "test or prod, where the service's name is not enough")
	health := s.flags.String("health", "", "only ok, idle, busy or bad ones")
	query := s.flags.String("q", "", "part of the name, or the start of the IP address")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	var list []client.VMRow
	var err error
	if *service == "" {
		list, err = s.vms(ctx, client.ListVMsParams{Health: optional[client.ListVMsParamsHealth](*health), Q: optional[string](*query)})
	} else {
		list, err = s.serviceVMs(ctx, *service, *env, client.ListServiceVMsParams{Health: optional[client.ListServiceVMsParamsHealth](*health), Q: optional[string](*query)})
	}
	if err != nil {
		return err
	}
	var rows [][]string
	for _, m := range list {
		rows = append(rows, []string{
			m.Name, string(m.Environment), m.State, m.Ip, m.Cluster, m.Template, m.Size, strconv.Itoa(m.Cpu), strconv.Itoa(m.MemoryMib), strconv.Itoa(m.DiskGib), age(m.CreatedAt),
		})
	}
	return s.table(list, "VM ENV STATE IP CLUSTER TEMPLATE SIZE VCPU MEMORY_MIB DISK_GIB AGE", rows)
}

func (s *session) vms(ctx context.Context, p client.ListVMsParams) ([]client.VMRow, error) {
	return all(func(after *string) ([]client.VMRow, string, error) {
		p.After = after
		r, err := s.ListVMsWithResponse(ctx, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
}

func (s *session) serviceVMs(ctx context.Context, word, env string, p client.ListServiceVMsParams) ([]client.VMRow, error) {
	sv, err := s.service(ctx, word, env)
	if err != nil {
		return nil, err
	}
	return all(func(after *string) ([]client.VMRow, string, error) {
		p.After = after
		r, err := s.ListServiceVMsWithResponse(ctx, sv.Id, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
}

// vm finds a VM by its name or id.
func (s *session) vm(ctx context.Context, word, env string) (uuid.UUID, error) {
	if id, err := uuid.Parse(word); err == nil {
		return id, nil
	}
	list, err := s.vms(ctx, client.ListVMsParams{Q: &word})
	if err != nil {
		return uuid.UUID{}, err
	}
	var here []client.VMRow
	for _, m := range list {
		if env == "" || string(m.Environment) == env {
			here = append(here, m)
		}
	}
	m, err := named("VM", word, here, func(m client.VMRow) (string, []string) { return m.Id.String(), []string{m.Name} })
	return m.Id, err
}

func vmGet(ctx context.Context, args []string) error {
	s := newSession("vm get")
	env := s.flags.String("env", "", "test or prod, where the name is not enough")
	words, err := s.open(args, 1)
	if err != nil {
		return err
	}
	id, err := s.vm(ctx, words[0], *env)
	if err != nil {
		return err
	}
	got, err := s.GetVMWithResponse(ctx, id)
	if err != nil {
		return err
	}
	m := got.JSON200
	if *s.output == "json" {
		return s.json(got.Body)
	}
	fmt.Fprintf(s.out, "%s is %s. %s\n", m.Name, m.State, m.Problem.Message)
	return s.table(nil, "FACT VALUE", [][]string{
		{"id", m.Id.String()}, {"environment", string(m.Environment)}, {"service", m.System + "/" + m.Service}, {"namespace", m.Namespace}, {"cluster", m.Cluster},
		{"ip", m.Ip}, {"node", m.Node}, {"template", fmt.Sprintf("%s, version %d", m.Template, m.TemplateVersion)},
		{"size", fmt.Sprintf("%s, %d vCPU, %d MiB, disk %d GiB", m.Size, m.Cpu, m.MemoryMib, m.DiskGib)}, {"owner", m.CreatedBy}, {"age", age(m.CreatedAt)},
	})
}

func vmPower(op client.PowerOperation) func(context.Context, []string) error {
	verb := strings.ToLower(string(op))
	return func(ctx context.Context, args []string) error {
		s := newSession("vm " + verb)
		env := s.flags.String("env", "", "test or prod, where the name is not enough")
		reason := s.flags.String("reason", "", "why; needed in prod, where somebody decides")
		words, err := s.open(args, 1)
		if err != nil {
			return err
		}
		id, err := s.vm(ctx, words[0], *env)
		if err != nil {
			return err
		}
		got, err := once(ctx, func(key *string) (*client.PowerVMResponse, error) {
			return s.PowerVMWithResponse(ctx, id, &client.PowerVMParams{IdempotencyKey: key}, client.Power{Operation: op, Reason: *reason})
		})
		if err != nil {
			return err
		}
		if n := got.JSON202.Request; n != 0 {
			return s.said(got.Body, "TKT-%d asks to %s %s. Somebody else decides.", n, verb, words[0])
		}
		return s.said(got.Body, "%s: %s is ordered.", words[0], verb)
	}
}

func systemList(ctx context.Context, args []string) error {
	s := newSession("system list")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	list, err := s.systems(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, x := range list {
		rows = append(rows, []string{x.Name, string(x.Environment), x.Namespace, strconv.Itoa(x.Vms), strconv.Itoa(x.VmsBad), x.Id.String()})
	}
	return s.table(list, "SYSTEM ENV NAMESPACE VMS BAD ID", rows)
}

func (s *session) systems(ctx context.Context) ([]client.System, error) {
	var p client.ListSystemsParams
	return all(func(after *string) ([]client.System, string, error) {
		p.After = after
		r, err := s.ListSystemsWithResponse(ctx, &p)
		if err != nil {
			return nil, "", err
		}
		return r.JSON200.Items, r.JSON200.Next, nil
	})
}

func serviceList(ctx context.Context, args []string) error {
	s := newSession("service list")
	system := s.flags.String("system", "", "only those of this system, by name or id")
	env := s.flags.String("env", "", "only test or prod")
	if _, err := s.open(args, 0); err != nil {
		return err
	}
	list, err := s.services(ctx, nil)
	if err != nil {
		return err
	}
	kept := []client.Service{}
	var rows [][]string
	for _, x := range list {
		if *system != "" && *system != x.System && *system != x.SystemId.String() || *env != "" && *env != string(x.Environment) {
			continue
		}
		kept = append(kept, x)
		rows = append(rows, []string{x.System + "/" + x.Name, string(x.Environment), x.Namespace, strconv.Itoa(x.Vms), strconv.Itoa(x.VmsBad), x.NextName, x.Id.String()})
	}
	return s.table(kept, "SERVICE ENV NAMESPACE VMS BAD NEXT ID", rows)
}
