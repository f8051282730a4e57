package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"kubevirt-shepherd.io/shepherd/internal/database"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/vm"
)

// The clock of the queue. River's own defaults rescue a stuck job after an
// hour and pick up new ones every 100 ms: too slow for somebody who waits.
const (
	jobTimeout    = 40 * time.Second // longer than a worker's round, see package vm
	rescueAfter   = 60 * time.Second
	fetchCooldown = 5 * time.Millisecond
	stopAfter     = 20 * time.Second
	// MaxAttempts of River is no policy of ours: vm.Service counts attempts and
	// ends an order. This only keeps River from discarding a job before.
	maxAttempts = 1000
)

// Chore is something that is done every now and then, by one replica at a time.
type Chore struct {
	Name  string
	Every time.Duration
	Run   func(ctx context.Context) error
}

// Runner works on the queue.
type Runner struct {
	client *river.Client[*sql.Tx]
	logger *slog.Logger
}

// New makes a runner. execute carries out one order; workers is how many at once.
func New(db *database.DB, logger *slog.Logger, workers int, execute func(context.Context, uuid.UUID) (vm.Outcome, error), chores []Chore) (*Runner, error) {
	reg := river.NewWorkers()
	river.AddWorker(reg, &eventWorker{execute: execute, logger: logger})
	river.AddWorker(reg, newChoreWorker(chores, logger))
	periodic := make([]*river.PeriodicJob, 0, len(chores))
	for _, c := range chores {
		periodic = append(periodic, river.NewPeriodicJob(river.PeriodicInterval(c.Every), func() (river.JobArgs, *river.InsertOpts) {
			return choreArgs{c.Name}, &river.InsertOpts{
				Queue: choreQueue, MaxAttempts: 1,
				// One at a time: a chore that is late is not done twice.
				UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: max(c.Every/2, time.Second)},
			}
		}, &river.PeriodicJobOpts{RunOnStart: true}))
	}
	client, err := river.NewClient(db.River(), &river.Config{
		Logger:               slog.New(quiet{logger.Handler()}),
		Workers:              reg,
		Queues:               map[string]river.QueueConfig{Queue: {MaxWorkers: workers}, choreQueue: {MaxWorkers: 4}},
		PeriodicJobs:         periodic,
		FetchCooldown:        fetchCooldown,
		FetchPollInterval:    time.Second,
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: rescueAfter,
		SoftStopTimeout:      stopAfter,
	})
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return &Runner{client, logger}, nil
}

// Run works until ctx ends, then lets jobs finish for a while.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("job queue: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopAfter+5*time.Second)
	defer cancel()
	return r.client.Stop(stop)
}

// eventWorker runs the job of an event.
type eventWorker struct {
	river.WorkerDefaults[EventJobArgs]
	execute func(context.Context, uuid.UUID) (vm.Outcome, error)
	logger  *slog.Logger
}

// Work is called at least once for each job; the use case makes the effect
// happen once.
func (w *eventWorker) Work(ctx context.Context, job *river.Job[EventJobArgs]) error {
	var out vm.Outcome
	err := safely(func() (err error) {
		out, err = w.execute(ctx, job.Args.EventID)
		return err
	})
	if err != nil {
		w.logger.ErrorContext(ctx, "order could not be worked on", "event", job.Args.EventID, "error", err)
		return errors.New(apperr.CodeOf(err))
	}
	if out.Again {
		return river.JobSnooze(out.After)
	}
	return nil
}

// NextRetry is soon: the error was the database's, not the order's.
func (w *eventWorker) NextRetry(job *river.Job[EventJobArgs]) time.Time {
	return time.Now().Add(min(time.Duration(job.Attempt)*time.Second, 30*time.Second))
}

// choreQueue keeps chores away from what people wait for.
const choreQueue = "chores"

type choreArgs struct {
	Name string `json:"name" river:"unique"`
}

// Kind names the job in the queue.
func (choreArgs) Kind() string { return "chore" }

type choreWorker struct {
	river.WorkerDefaults[choreArgs]
	chores map[string]Chore
	logger *slog.Logger
}

func newChoreWorker(chores []Chore, logger *slog.Logger) *choreWorker {
	w := &choreWorker{chores: map[string]Chore{}, logger: logger}
	for _, c := range chores {
		w.chores[c.Name] = c
	}
	return w
}

// Work runs one chore. What it could not do it does the next time.
func (w *choreWorker) Work(ctx context.Context, job *river.Job[choreArgs]) error {
	c, ok := w.chores[job.Args.Name]
	if !ok {
		return nil // of another version of the portal
	}
	if err := safely(func() error { return c.Run(ctx) }); err != nil {
		w.logger.ErrorContext(ctx, "chore failed", "chore", c.Name, "error", err)
		return errors.New(apperr.CodeOf(err))
	}
	return nil
}

// safely turns a panic into an error. River keeps the text of an error and of a
// panic in its table: only a code goes there, the rest goes to the log.
func safely(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

// quiet drops River's routine lines: what matters is logged by the use cases.
type quiet struct{ slog.Handler }

// Enabled lets warnings and errors pass.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}
