package database_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"kubevirt-shepherd.io/shepherd/internal/database"
)

// The addresses are all that the connection string names, and no socket file.
func TestAddresses(t *testing.T) {
	for url, want := range map[string][]string{
		"postgres://u@10.0.0.5/db?sslmode=disable":                    {"10.0.0.5:5432"},
		"postgres://u@a.example:1,[2001:db8::1]:2/db?sslmode=disable": {"a.example:1", "[2001:db8::1]:2"},
		"postgres://u@/db?host=/run/postgresql":                       nil,
	} {
		pool, err := pgxpool.New(t.Context(), url) // connects when it is used
		if err != nil {
			t.Fatal(err)
		}
		got := (&database.DB{Pool: pool}).Addresses()
		pool.Close()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", url, got, want)
		}
	}
}
