package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"
)

func tlsCertFlag() cli.Flag {
	return stringFlag("tls-cert", "", "serve HTTPS with the certificate in `FILE`, PEM, the server's own first; read again when it changes")
}

func tlsKeyFlag() cli.Flag {
	return stringFlag("tls-key", "", "the private key of that certificate, in `FILE`")
}

// lookEvery is how often a handshake may look for new files.
const lookEvery = time.Second

// certificate is a pair of files that is read again when it changes. Its methods
// are safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	pair atomic.Pointer[tls.Certificate] // the last good one

	looking   sync.Mutex // held while the files are looked at
	looked    time.Time
	cert, key []byte // what pair was read from
	problem   string // what is wrong with the files since, as logged
}

// newCertificate reads the pair that the flags name; it is nil without them.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	switch {
	case certFile == "" && keyFile == "":
		return nil, nil
	case keyFile == "":
		return nil, usagef("--tls-cert needs --tls-key: the file with the certificate's private key")
	case certFile == "":
		return nil, usagef("--tls-key needs --tls-cert: the file with the key's certificate")
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	if _, err := c.read(); err != nil {
		return nil, err
	}
	c.announce("certificate read")
	return c, nil
}

// config is for a server that speaks HTTP/2 and HTTP/1.1.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.look(time.Now())
			return c.pair.Load(), nil
		},
	}
}

// look reads the files again, if that was not done lately. Only one handshake waits
// for it: the others go on with the pair that there is.
func (c *certificate) look(now time.Time) {
	if !c.looking.TryLock() {
		return
	}
	defer c.looking.Unlock()
	if now.Sub(c.looked) < lookEvery {
		return
	}
	c.looked = now
	changed, err := c.read()
	switch {
	case err != nil && err.Error() != c.problem:
		c.problem = err.Error()
		c.log.Warn("new certificate can't be used, the old one stays", "err", err)
	case err == nil && changed:
		c.announce("certificate read again")
	}
	if err == nil {
		c.problem = ""
	}
}

// read makes the files' content the pair, and reports whether it is new. It
// compares all of it: times and sizes miss a file that is written over.
func (c *certificate) read() (changed bool, err error) {
	cert, err := readPEM("--tls-cert", c.certFile)
	if err != nil {
		return false, err
	}
	key, err := readPEM("--tls-key", c.keyFile)
	if err != nil {
		return false, err
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) && c.problem == "" {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, c.unusable(cert, key, err)
	}
	changed = !bytes.Equal(cert, c.cert) || !bytes.Equal(key, c.key)
	c.cert, c.key = cert, key
	c.pair.Store(&pair)
	return changed, nil
}

// announce logs until when the pair is good.
func (c *certificate) announce(msg string) {
	leaf := c.pair.Load().Leaf
	c.log.Info(msg, "expires", leaf.NotAfter)
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		c.log.Warn("certificate is not valid now: clients will refuse it", "from", leaf.NotBefore, "to", leaf.NotAfter)
	}
}

// maxPEM is more than any chain or key takes.
const maxPEM = 1 << 20

// readPEM reads the file of a flag.
func readPEM(flag, file string) ([]byte, error) {
	info, err := os.Stat(file)
	var content []byte
	if err == nil && info.Mode().IsRegular() && info.Size() <= maxPEM { // a pipe would block every handshake
		content, err = os.ReadFile(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, plainf(err, "%s: there is no file %s", flag, file)
	case errors.Is(err, fs.ErrPermission):
		return nil, plainf(err, "%s: %s can't be read: let the user that pgbell runs as read it", flag, file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %s is not a file", flag, file)
	case info.Size() > maxPEM || len(content) == 0:
		return nil, fmt.Errorf("%s: %s has %d bytes: it can't be PEM", flag, file, info.Size())
	}
	return content, nil
}

// unusable says what is wrong with two files that make no pair.
func (c *certificate) unusable(cert, key []byte, err error) error {
	inCert, inKey := blocks(cert), blocks(key)
	switch {
	case strings.Contains(inCert, "PRIVATE KEY") && !strings.Contains(inCert, "CERTIFICATE") && strings.Contains(inKey, "CERTIFICATE"):
		return plainf(err, "--tls-cert %s holds a key and --tls-key %s a certificate: swap them", c.certFile, c.keyFile)
	case !strings.Contains(inCert, "CERTIFICATE"):
		return plainf(err, "--tls-cert: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", c.certFile)
	case strings.Contains(inKey, "ENCRYPTED") || bytes.Contains(key, []byte("Proc-Type: 4,ENCRYPTED")):
		return plainf(err, "--tls-key: %s is encrypted, and nobody is there to type its passphrase: decrypt it with openssl pkey", c.keyFile)
	case !strings.Contains(inKey, "PRIVATE KEY"):
		return plainf(err, "--tls-key: %s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", c.keyFile)
	case strings.Contains(err.Error(), "does not match"):
		return plainf(err, "--tls-key: %s is not the key of the first certificate in %s: give the two that belong together", c.keyFile, c.certFile)
	}
	return plainf(err, "--tls-cert %s and --tls-key %s can't be used: %s", c.certFile, c.keyFile, strings.TrimPrefix(err.Error(), "tls: "))
}

// blocks are the types of the PEM blocks in b.
func blocks(b []byte) string {
	var types []string
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return strings.Join(types, ",")
		}
		types = append(types, block.Type)
	}
}
