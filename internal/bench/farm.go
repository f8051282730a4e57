package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/clusterstub"
	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// farm is the parent's side of a process with stub clusters: what they cost is
// not in the portal's memory, goroutines and descriptors. Orders and answers
// are lines of JSON on its input and output; its input's end is its own.
type farm struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	enc      *json.Encoder
	dec      *json.Decoder
	clusters []stub
}

// stub is a cluster of the farm.
type stub struct {
	Options clusterstub.Options
	Server  string
	CA      []byte
}

func (s stub) credential() domain.Credential {
	return domain.Credential{Server: s.Server, CA: s.CA, Token: domain.Secret(clusterstub.Token)}
}

func (s stub) kubeconfig(token string) []byte {
	return clusterstub.Kubeconfig(s.Options.Name, s.Server, s.CA, token)
}

// farmOrder is what the parent says. It is about some clusters, by number.
type farmOrder struct {
	Clusters []int
	Fault    clusterstub.Fault // "" = as it is
	Delay    time.Duration
	Move     string // address of the first VM's instance, which moves to another node
	Forget   bool   // compact the history, and cut all connections
}

// farmAnswer is what every order is answered with.
type farmAnswer struct {
	Error     string
	Counts    []clusterstub.Counts // of the clusters of the order
	PeakLists int                  // at the same time over all clusters, since the last order
}

// startFarm runs this very program once more, as the farm: one cluster for each
// options.
func startFarm(ctx context.Context, options []clusterstub.Options) (*farm, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &farm{cmd: exec.CommandContext(ctx, self, "bench", "clusters", "-stubs")}
	f.cmd.Stderr = os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	f.enc, f.dec = json.NewEncoder(f.in), json.NewDecoder(out)
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	if err := f.enc.Encode(options); err != nil {
		f.close()
		return nil, err
	}
	if err := f.dec.Decode(&f.clusters); err != nil {
		f.close()
		return nil, fmt.Errorf("the stub clusters do not start: %w", err)
	}
	return f, nil
}

func (f *farm) close() {
	_ = f.in.Close()
	_ = f.cmd.Wait()
}

func (f *farm) tell(o farmOrder) (farmAnswer, error) {
	var a farmAnswer
	if err := f.enc.Encode(o); err != nil {
		return a, err
	}
	if err := f.dec.Decode(&a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// stubs is the farm's side: it runs until its input ends.
func stubs(in io.Reader, out io.Writer) error {
	enc, dec := json.NewEncoder(out), json.NewDecoder(in)
	var options []clusterstub.Options
	if err := dec.Decode(&options); err != nil {
		return err
	}
	meter := &clusterstub.Meter{}
	var clusters []*clusterstub.Cluster
	var said []stub
	for _, o := range options {
		o.Meter = meter
		c, err := clusterstub.Start(o)
		if err != nil {
			return err
		}
		defer c.Close()
		c.Rotate("") // credentials are tried one after another
		clusters = append(clusters, c)
		o.Meter = nil
		said = append(said, stub{o, c.URL(), c.CA()})
	}
	if err := enc.Encode(said); err != nil {
		return err
	}
	for {
		var o farmOrder
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a := farmAnswer{PeakLists: meter.Peak()}
		for _, i := range o.Clusters {
			c := clusters[i]
			if o.Fault != "" {
				if err := c.Set(o.Fault); err != nil {
					a.Error = err.Error()
				}
			}
			c.Delay(o.Delay)
			if o.Move != "" && !c.Move(options[i].Namespaces[0], options[i].VMName(0), "node02", o.Move) {
				a.Error = "no such VM"
			}
			if o.Forget {
				c.Compact()
				c.Cut()
			}
			a.Counts = append(a.Counts, c.Counts())
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
	}
}
