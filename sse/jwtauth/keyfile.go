package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	maxKeyFile = 64 << 10
	lookEvery  = time.Second // whether the file has changed
)

// keyFile is the source that has one key, from a file.
type keyFile struct {
	path  string
	kind  string
	parse func([]byte) (key, error)
	log   *slog.Logger

	mu     sync.Mutex
	key    key
	info   fs.FileInfo // of the file when it was read
	looked time.Time
	failed bool // to read it again; logged
}

// openKeyFile reads the key at path, a kind of file that parse knows.
func openKeyFile(path, kind string, parse func([]byte) (key, error), log *slog.Logger) (*keyFile, error) {
	f := &keyFile{path: path, kind: kind, parse: parse, log: log, looked: time.Now()}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// read reads the file. On an error all stays as it was.
func (f *keyFile) read() error {
	info, text, err := readFile(f.path)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.kind, err)
	}
	k, err := f.parse(text)
	if err != nil {
		return fmt.Errorf("%s %s: %w", f.kind, f.path, err)
	}
	f.key, f.info = k, info
	return nil
}

func readFile(path string) (fs.FileInfo, []byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s is longer than 64 kB", path)
	}
	return info, text, err
}

func (f *keyFile) find(_ context.Context, _, alg string) ([]key, error) {
	k := f.current()
	if _, ok := k.algs[alg]; !ok {
		return nil, errors.New("the token's alg is not one of the key's")
	}
	return []key{k}, nil
}

// current returns the key, read again if the file has changed.
func (f *keyFile) current() key {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	// A pipe, as in <(get-secret), can be read only once.
	if now.Sub(f.looked) < lookEvery || !f.info.Mode().IsRegular() {
		return f.key
	}
	f.looked = now
	info, err := os.Stat(f.path)
	if err == nil && sameContent(info, f.info) {
		f.failed = false
		return f.key
	}
	if err == nil {
		err = f.read()
	}
	switch {
	case err == nil:
		f.log.Info("key file read again", "file", f.path)
	case !f.failed: // may be being written: the next look will tell
		f.log.Warn("key file can't be read again, the old key still counts", "file", f.path, "err", err)
	}
	f.failed = err != nil
	return f.key
}

func sameContent(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
