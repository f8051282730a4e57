package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMain lets the bench start this program as its farm.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "bench" {
		if err := Clusters(context.Background(), os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The bench works; what it measures in so short a time says nothing.
func TestClusters(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r := clustersRun{clusters: 6, vms: 5, watched: 100, rounds: 1, rate: 20, round: 2 * time.Second, rotations: 5, hurry: true}
	if err := r.run(ctx); err != nil {
		t.Fatal(err)
	}
}
