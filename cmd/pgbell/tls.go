package main

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/internal/reload"
)

func tlsCertFlag() cli.Flag {
	return stringFlag("tls-cert", "", "serve HTTPS with the certificate in `FILE`, PEM, the server's own first; read again when it changes")
}

func tlsKeyFlag() cli.Flag {
	return stringFlag("tls-key", "", "the private key of that certificate, in `FILE`")
}

// pemFiles is what the files of a certificate and of its key hold.
type pemFiles struct{ cert, key string }

// newTLS returns what serves HTTP/2 and HTTP/1.1 with the certificate that the flags
// name, from files that are read again when they change; nil without the flags.
func newTLS(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	switch {
	case certFile == "" && keyFile == "":
		return nil, nil
	case keyFile == "":
		return nil, usagef("--tls-cert needs --tls-key: the file with the certificate's private key")
	case certFile == "":
		return nil, usagef("--tls-key needs --tls-cert: the file with the key's certificate")
	}
	read := func() (files pemFiles, err error) {
		if files.cert, err = readPEM("--tls-cert", certFile); err != nil {
			return files, err
		}
		files.key, err = readPEM("--tls-key", keyFile)
		return files, err
	}
	pair, err := reload.New(read, func(files pemFiles) (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair([]byte(files.cert), []byte(files.key))
		if err != nil {
			return nil, unusable(certFile, keyFile, files, err)
		}
		return &pair, nil
	}, func(pair *tls.Certificate, err error) {
		if err != nil {
			log.Warn("new certificate can't be used, the old one stays", "err", err)
			return
		}
		announce("certificate read again", pair, log)
	})
	if err != nil {
		return nil, err
	}
	announce("certificate read", pair.Get(), log)
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
	}, nil
}

// announce logs until when a pair is good.
func announce(msg string, pair *tls.Certificate, log *slog.Logger) {
	leaf := pair.Leaf
	log.Info(msg, "expires", leaf.NotAfter)
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		log.Warn("certificate is not valid now: clients will refuse it", "from", leaf.NotBefore, "to", leaf.NotAfter)
	}
}

// maxPEM is more than any chain or key takes.
const maxPEM = 1 << 20

// readPEM reads the file of a flag.
func readPEM(flag, file string) (string, error) {
	info, err := os.Stat(file)
	var content []byte
	if err == nil && info.Mode().IsRegular() && info.Size() <= maxPEM { // a pipe would block every handshake
		content, err = os.ReadFile(file)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", plainf(err, "%s: there is no file %s", flag, file)
	case errors.Is(err, fs.ErrPermission):
		return "", plainf(err, "%s: %s can't be read: let the user that pgbell runs as read it", flag, file)
	case err != nil:
		return "", fmt.Errorf("%s: %w", flag, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: %s is not a file", flag, file)
	case info.Size() > maxPEM || len(content) == 0:
		return "", fmt.Errorf("%s: %s has %d bytes: it can't be PEM", flag, file, info.Size())
	}
	return string(content), nil
}

// unusable says what is wrong with two files that make no pair.
func unusable(certFile, keyFile string, files pemFiles, err error) error {
	inCert, inKey := blocks(files.cert), blocks(files.key)
	switch {
	case strings.Contains(inCert, "PRIVATE KEY") && !strings.Contains(inCert, "CERTIFICATE") && strings.Contains(inKey, "CERTIFICATE"):
		return plainf(err, "--tls-cert %s holds a key and --tls-key %s a certificate: swap them", certFile, keyFile)
	case !strings.Contains(inCert, "CERTIFICATE"):
		return plainf(err, "--tls-cert: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", certFile)
	case strings.Contains(inKey, "ENCRYPTED") || strings.Contains(files.key, "Proc-Type: 4,ENCRYPTED"):
		return plainf(err, "--tls-key: %s is encrypted, and nobody is there to type its passphrase: decrypt it with openssl pkey", keyFile)
	case !strings.Contains(inKey, "PRIVATE KEY"):
		return plainf(err, "--tls-key: %s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)", keyFile)
	case strings.Contains(err.Error(), "does not match"):
		return plainf(err, "--tls-key: %s is not the key of the first certificate in %s: give the two that belong together", keyFile, certFile)
	}
	return plainf(err, "--tls-cert %s and --tls-key %s can't be used: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
}

// blocks are the types of the PEM blocks in a file.
func blocks(file string) string {
	var types []string
	for b := []byte(file); ; {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return strings.Join(types, ",")
		}
		types = append(types, block.Type)
	}
}
