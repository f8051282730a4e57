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
	if err := Clusters(ctx, []string{"-clusters", "6", "-vms", "5", "-watched", "100", "-rounds", "1", "-round", "2s", "-rotations", "5"}); err != nil {
		t.Fatal(err)
	}
}
