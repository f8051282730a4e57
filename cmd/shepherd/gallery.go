//go:build dev

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"kubevirt-shepherd.io/shepherd/internal/gallery"
)

// developer are the commands of a development build.
var developer = []command{
	{"gallery screenshots", "DIR [all | PAGE ...]", "pictures of pages in light, dark and phone width", screenshots},
	{"gallery", "[ADDR]", "every page in every state, from literals", showGallery},
}

func showGallery(ctx context.Context, args []string) error {
	addr := "localhost:8090"
	if len(args) > 0 {
		addr = args[0]
	}
	s := &http.Server{Addr: addr, Handler: gallery.Handler(), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println("Gallery at http://" + addr)
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func screenshots(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: shepherd gallery screenshots DIR [all | PAGE ...]")
	}
	names := args[1:]
	switch {
	case len(names) == 0:
		names = gallery.Documented
	case names[0] == "all":
		names = nil
	}
	n, err := gallery.Screenshots(ctx, args[0], names...)
	fmt.Println(n, "pictures written")
	return err
}
