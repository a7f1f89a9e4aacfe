package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/pgbell/pgbell/internal/reload"
)

const maxKeyFile = 64 << 10

// keyFile is the source that has one key, from a file.
type keyFile struct {
	key *reload.Value[string, key]
}

// openKeyFile reads the key at path, a kind of file that parse knows.
func openKeyFile(path, kind string, parse func([]byte) (key, error), log *slog.Logger) (*keyFile, error) {
	piped := "" // by <(get-secret), say, from which nothing can be read twice
	read := func() (string, error) {
		if piped != "" {
			return piped, nil
		}
		info, text, err := readFile(path)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", kind, err)
		}
		if !info.Mode().IsRegular() {
			piped = string(text)
		}
		return string(text), nil
	}
	k, err := reload.New(read, func(text string) (key, error) {
		k, err := parse([]byte(text))
		if err != nil {
			return key{}, fmt.Errorf("%s %s: %w", kind, path, err)
		}
		return k, nil
	}, func(_ key, err error) {
		if err != nil {
			log.Warn("key file can't be read again, the old key still counts", "file", path, "err", err)
			return
		}
		log.Info("key file read again", "file", path)
	})
	if err != nil {
		return nil, err
	}
	return &keyFile{k}, nil
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
	k := f.key.Get()
	if _, ok := k.algs[alg]; !ok {
		return nil, errors.New("the token's alg is not one of the key's")
	}
	return []key{k}, nil
}
