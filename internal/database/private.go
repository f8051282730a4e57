package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Private is a PostgreSQL server of our own, on a Unix socket only. It serves
// the demo, development and the tests; for anything else set DATABASE_URL.
type Private struct {
	URL  string
	proc *os.Process
	done chan struct{}
}

// goingDown is how long an earlier server may take to end.
const goingDown = 15 * time.Second

// ErrNoPostgreSQL says that the programs are not installed.
var ErrNoPostgreSQL = errors.New("no PostgreSQL programs found: install PostgreSQL 14 or newer (Debian, Ubuntu: apt install postgresql; macOS: brew install postgresql), or set DATABASE_URL")

// find looks for the server's programs: SHEPHERD_POSTGRES_BIN, the usual
// places from the newest version down, then PATH. All must be in one directory,
// because a postgres of another version than initdb refuses the data.
func find() (string, error) {
	var dirs []string
	if d := os.Getenv("SHEPHERD_POSTGRES_BIN"); d != "" {
		dirs = append(dirs, d)
	}
	var found []string
	for _, g := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		m, _ := filepath.Glob(g)
		found = append(found, m...)
	}
	slices.Sort(found)
	slices.Reverse(found)
	dirs = append(dirs, found...)
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	for _, d := range dirs {
		_, err1 := os.Stat(filepath.Join(d, "initdb"))
		_, err2 := os.Stat(filepath.Join(d, "postgres"))
		if err1 == nil && err2 == nil {
			return d, nil
		}
	}
	return "", ErrNoPostgreSQL
}

// account is who runs the server when we are root, which PostgreSQL refuses.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is no account postgres or nobody to run PostgreSQL as")
}

// reachable gives a directory that the server's account can enter: dir, or,
// when a parent of it is closed to others (a home directory of mode 0700), one
// below /var/lib that is always the same for the same dir.
func reachable(dir string, cred *syscall.Credential) (string, error) {
	if cred == nil {
		return dir, nil
	}
	for p := filepath.Dir(dir); ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return "", err
		}
		if info.Mode().Perm()&0o001 == 0 {
			sum := sha256.Sum256([]byte(dir))
			return filepath.Join("/var/lib/kubevirt-shepherd", hex.EncodeToString(sum[:6])), nil
		}
		if p == filepath.Dir(p) {
			return dir, nil
		}
	}
}

// StartPrivate makes the data directory below dir when it is missing and
// starts the server. A server left over from a killed portal is adopted. The
// server ends when this process ends, however it ends.
func StartPrivate(ctx context.Context, dir string) (*Private, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	cred, err := account()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if dir, err = reachable(dir, cred); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if cred != nil {
		if err := os.Chown(dir, int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		// A start that was interrupted leaves half a directory, which initdb refuses.
		if err := os.RemoveAll(data); err != nil {
			return nil, err
		}
		c := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "shepherd", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
		c.SysProcAttr, c.Dir = &syscall.SysProcAttr{Credential: cred}, dir
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("initdb: %w: %s", err, out)
		}
	}
	// A Unix socket's path may have 107 bytes only; a deep directory has more.
	sock, err := socketDir(dir, cred)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "postgres.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p := &Private{URL: "postgres://shepherd@/postgres?host=" + sock, done: make(chan struct{})}
	// One that a killed portal has left answers, or may still be going down.
	for end := time.Now().Add(goingDown); ; time.Sleep(100 * time.Millisecond) {
		pid := running(data)
		if pid == 0 || ctx.Err() != nil || time.Now().After(end) {
			break
		}
		if p.answers(ctx) {
			if p.proc, err = os.FindProcess(pid); err != nil {
				return nil, err
			}
			go p.await(pid)
			return p, nil
		}
	}

	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", sock, "-c", "listen_addresses=", "-c", "max_connections=200")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread ends that started the child,
		// so that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	p.proc = cmd.Process
	for {
		if p.answers(ctx) {
			return p, nil
		}
		select {
		case <-p.done:
			return nil, fmt.Errorf("postgres did not start, see %s", log.Name())
		case <-ctx.Done():
			p.Stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// socketDir is dir when a socket fits in, else a short one that belongs to it.
func socketDir(dir string, cred *syscall.Credential) (string, error) {
	if len(dir) < 80 && !strings.ContainsAny(dir, " ,") {
		return dir, nil
	}
	sum := sha256.Sum256([]byte(dir))
	short := filepath.Join(os.TempDir(), "shepherd-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(short, 0o700); err != nil {
		return "", err
	}
	if cred != nil {
		return short, os.Chown(short, int(cred.Uid), int(cred.Gid))
	}
	return short, nil
}

// running gives the process id of a live server on the data directory, or 0.
func running(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}

func (p *Private) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, p.URL)
	if err != nil {
		return false
	}
	return c.Close(ctx) == nil
}

// await closes done when an adopted server, which is not our child, has ended.
func (p *Private) await(pid int) {
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(20 * time.Millisecond)
	}
	close(p.done)
}

// Stop asks for a fast shutdown and waits for it.
func (p *Private) Stop() {
	_ = p.proc.Signal(syscall.SIGINT)
	<-p.done
}
