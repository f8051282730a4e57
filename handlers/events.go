package handlers

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/domain"
	"kubevirt-shepherd.io/shepherd/internal/live"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/account"
)

// Limits of a stream of events (reference A1.11).
const (
	maxTopics         = 20
	streamsPerSession = 6
	heartbeat         = 15 * time.Second
	recheck           = 30 * time.Second // who may still hear it
	streamAge         = 15 * time.Minute
	writeTimeout      = 10 * time.Second
)

// streams are the open streams of this process by session, so that signing out
// ends them at once.
type streams struct {
	mu  sync.Mutex
	all map[string][]*stream
}

type stream struct{ end context.CancelFunc }

// open counts a stream in; it is not ok when the session has too many. key is
// the session's token or the program's.
func (s *streams) open(key string, end context.CancelFunc) (closeStream func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all[key]) >= streamsPerSession {
		return nil, false
	}
	if s.all == nil {
		s.all = map[string][]*stream{}
	}
	me := &stream{end}
	s.all[key] = append(s.all[key], me)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all[key] = slices.DeleteFunc(s.all[key], func(x *stream) bool { return x == me })
		if len(s.all[key]) == 0 {
			delete(s.all, key)
		}
	}, true
}

// endAll ends the streams of a session.
func (s *streams) endAll(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.all[key] {
		x.end()
	}
}

// events answers GET /events: which of the topics have changed, without any
// data, as long as the reader may hear them. A page then reads its parts again.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	topics := r.URL.Query()["t"]
	if len(topics) == 0 || len(topics) > maxTopics {
		return apperr.Field("t", apperr.ErrOutOfRange).With("min", 1).With("max", maxTopics)
	}
	if err := s.mayHear(r.Context(), actor(r), topics); err != nil {
		return err
	}
	age := streamAge
	if t := actor(r).Token; t != nil {
		age = min(age, time.Until(t.ExpiresAt))
	}
	ctx, cancel := context.WithTimeout(r.Context(), age)
	defer cancel()
	closeStream, ok := s.streams.open(s.credential(r), cancel)
	if !ok {
		return apperr.New(apperr.ErrTooMany)
	}
	defer closeStream()
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()

	rights := account.RightsTopic(actor(r).UserID) // never told: it is why the stream may end
	sub := s.Hub.Subscribe(append(slices.Clone(topics), rights))
	defer sub.Close()
	out := slow(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	write := func(text string) error {
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		return out.control.Flush()
	}
	// Pages that lost a server together come back one by one.
	if write(fmt.Sprintf("retry: %d\n\n", 1000+rand.IntN(4000))) != nil {
		return nil
	}
	beat, check := time.NewTicker(heartbeat), time.NewTicker(recheck)
	defer beat.Stop()
	defer check.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case topic, open := <-sub.C():
			switch {
			case !open: // the portal stops
				return nil
			case topic == rights:
				err = s.stillMayHear(ctx, r, topics)
			case topic == live.Resync:
				if err = s.stillMayHear(ctx, r, topics); err == nil {
					err = write(eventsOf(topics))
				}
			default:
				err = write(eventsOf([]string{topic}))
			}
		case <-beat.C:
			err = write(": \n\n")
		case <-check.C:
			err = s.stillMayHear(ctx, r, topics)
		}
		if err != nil {
			return nil // the headers are out: the stream just ends, and a new one is refused
		}
	}
}

// eventsOf is one event for each topic. A browser ignores an event without
// data, so there is an empty line of it.
func eventsOf(topics []string) string {
	var b strings.Builder
	for _, t := range topics {
		b.WriteString("event: " + t + "\ndata:\n\n")
	}
	return b.String()
}

// stillMayHear finds out anew who the reader is, and what he may hear.
func (s *Server) stillMayHear(ctx context.Context, r *http.Request, topics []string) error {
	// Not the context of the request: that has the session as it was.
	fresh, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	_, a, err := s.who(fresh, r)
	if err != nil {
		return err
	}
	if a.UserID != actor(r).UserID {
		return apperr.New(apperr.ErrSignedOut)
	}
	return s.mayHear(fresh, a, topics)
}

// mayHear refuses when one of the topics is not for the actor; what it is about
// then does not exist.
func (s *Server) mayHear(ctx context.Context, a domain.Actor, topics []string) error {
	for _, t := range topics {
		noun, id, _ := strings.Cut(t, "-")
		var err error
		switch noun {
		case "tree", "requests", "notifications":
			if id != "" {
				err = apperr.New(apperr.ErrNotFound)
			}
		case "approvals":
			if !domain.Can(a, domain.TicketQueue, domain.Object{}) || id != "" {
				err = apperr.New(apperr.ErrNotFound)
			}
		case "clusters":
			if !domain.Can(a, domain.ClusterList, domain.Object{}) || id != "" {
				err = apperr.New(apperr.ErrNotFound)
			}
		case "cluster":
			_, err = s.Clusters.Get(ctx, a, id)
		case "service":
			_, err = s.Services.Get(ctx, a, id)
		case "ticket":
			var n int
			if n, err = number32(id); err == nil {
				_, err = s.Approval.Request(ctx, a, n)
			}
		case "vm":
			_, err = s.VMs.Get(ctx, a, id)
		default:
			err = apperr.New(apperr.ErrNotFound)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
