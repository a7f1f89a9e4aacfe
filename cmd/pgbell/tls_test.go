package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is a certificate for 127.0.0.1 and its key, in PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// files writes p to where the flags point.
func (p pair) files(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, p.cert)
	write(t, key, p.key)
	return cert, key
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tlsClient is a client that trusts p, over connections of its own.
func (p pair) tlsClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// beginTLS starts pgbell serve with a certificate.
func beginTLS(t *testing.T, db string, args ...string) (*process, string, pair) {
	t.Helper()
	p := newPair(t, "first")
	cert, key := p.files(t, t.TempDir())
	s, server := beginServe(t, db, append([]string{"--tls-cert", cert, "--tls-key", key}, args...)...)
	return s, server, p
}

func TestServeSpeaksTLS(t *testing.T) {
	_, server, p := beginTLS(t, "postgres://u@127.0.0.1:1/d")
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "https" {
		t.Errorf("the logged URL is %s, want one of https", server)
	}
	for want, http2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		resp, err := p.tlsClient(t, http2).Get(server + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.Proto != want || resp.StatusCode != 200 {
			t.Errorf("got %s %s, want %s 200", resp.Proto, resp.Status, want)
		}
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	if conn, err := tls.Dial("tcp", u.Host, old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is accepted")
	}
	if r := runEnv(t, []string{"PGBELL_ADDR=" + u.Host, "PGBELL_TLS_CERT=cert.pem"}, "healthcheck"); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("healthcheck: %+v, want silence and exit 0", r)
	}
	wantError(t, runEnv(t, nil, "healthcheck", "--addr", u.Host), 1, "HTTPS server")
}

// certificateOf is the name in the certificate that a new connection is shown.
func certificateOf(t *testing.T, server string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(server, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestNewCertificateServesWithoutARestart(t *testing.T) {
	db := migrated(t)
	exec1(t, db, `create table news (id int primary key)`)
	mustRun(t, db, "attach", "news", "--scope", "news")
	first, dir := newPair(t, "first"), t.TempDir()
	cert, key := first.files(t, dir)
	p, server := beginServe(t, db, "--tls-cert", cert, "--tls-key", key, "--drain", "0s")
	s := openStream(t, first.tlsClient(t, true), server+"/events?scope=news")

	write(t, cert, []byte("half"))
	waitFor(t, "the look at the bad file", func() bool {
		if got := certificateOf(t, server); got != "first" {
			t.Fatalf("with a bad file the certificate is that of %q", got)
		}
		return strings.Contains(strings.Join(p.lines(), "\n"), "the old one stays")
	})
	newPair(t, "second").files(t, dir)
	waitFor(t, "the second certificate", func() bool { return certificateOf(t, server) == "second" })

	exec1(t, db, `insert into news values (1)`)
	if event, data := s.next(); event != "news" {
		t.Errorf("the stream of before got %q %s, want news", event, data)
	}
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}

func TestFilesAreLookedAtOnceASecondAndWarnedAboutOnce(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		first, second, dir := newPair(t, "first"), newPair(t, "second"), t.TempDir()
		certFile, keyFile := first.files(t, dir)
		c, err := newTLS(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		shown := func() string {
			got, err := c.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got.Leaf.Subject.CommonName
		}
		step := func(what string, after time.Duration, want string, warnings int) {
			t.Helper()
			time.Sleep(after)
			if got := shown(); got != want {
				t.Errorf("%s: the certificate is the %s, want the %s", what, got, want)
			}
			if got := strings.Count(log.String(), "level=WARN"); got != warnings {
				t.Errorf("%s: %d warnings, want %d:\n%s", what, got, warnings, &log)
			}
		}
		second.files(t, dir)
		step("too early", 999*time.Millisecond, "first", 0)
		step("a second on", time.Millisecond, "second", 0)

		write(t, certFile, first.cert[:100])
		step("half a certificate", time.Second, "second", 1)
		step("still half", time.Second, "second", 1)
		write(t, certFile, first.cert)
		step("key of another", time.Second, "second", 2)
		step("still of another", time.Minute, "second", 2)
		second.files(t, dir)
		step("as it was", time.Second, "second", 2)
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		step("no key", time.Second, "second", 3)
		first.files(t, dir)
		step("the first again", time.Second, "first", 3)
		write(t, certFile, first.cert[:100])
		step("bad after good", time.Second, "first", 4)
		first.files(t, dir)
		step("good", time.Second, "first", 4)

		time.Sleep(2 * time.Hour) // it has expired: said when it is read, refused by clients
		newPair(t, "third").files(t, dir)
		step("a new one", time.Second, "third", 4)
		first.files(t, dir)
		step("an old one", time.Second, "first", 5)
	})
	if strings.Contains(log.String(), "PRIVATE") {
		t.Errorf("a key was logged:\n%s", &log)
	}
}

func TestBadCertificatesAreRefusedInOneLine(t *testing.T) {
	good, other := newPair(t, "good"), newPair(t, "other")
	for name, test := range map[string]struct {
		cert, key []byte
		want      []string
	}{
		"not a pair":    {good.cert, other.key, []string{"key.pem is not the key of", "cert.pem"}},
		"swapped":       {good.key, good.cert, []string{"swap them"}},
		"no PEM":        {[]byte("hello"), good.key, []string{"--tls-cert", "no certificate", "BEGIN CERTIFICATE"}},
		"key twice":     {good.key, good.key, []string{"--tls-cert", "no certificate"}},
		"cert twice":    {good.cert, good.cert, []string{"--tls-key", "no private key"}},
		"half a cert":   {good.cert[:200], good.key, []string{"--tls-cert", "no certificate"}},
		"encrypted key": {good.cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), []string{"encrypted", "openssl pkey"}},
		"broken cert":   {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), good.key, []string{"--tls-cert", "can't be used"}},
		"empty":         {nil, good.key, []string{"--tls-cert", "0 bytes"}},
		"huge":          {good.cert, make([]byte, maxPEM+1), []string{"--tls-key", "bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := pair{test.cert, test.key}.files(t, t.TempDir())
			wantError(t, runEnv(t, nil, "serve", "--addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key), 1, test.want...)
		})
	}
	cert, key := good.files(t, t.TempDir())
	for name, test := range map[string]struct {
		code int
		args []string
		want []string
	}{
		"no key flag":   {2, []string{"--tls-cert", cert}, []string{"--tls-cert needs --tls-key"}},
		"no cert flag":  {2, []string{"--tls-key", key}, []string{"--tls-key needs --tls-cert"}},
		"missing cert":  {1, []string{"--tls-cert", cert + "x", "--tls-key", key}, []string{"--tls-cert: there is no file", cert + "x"}},
		"missing key":   {1, []string{"--tls-cert", cert, "--tls-key", key + "x"}, []string{"--tls-key: there is no file", key + "x"}},
		"in no folder":  {1, []string{"--tls-cert", cert, "--tls-key", key + "/x"}, []string{"--tls-key: there is no file"}},
		"folder":        {1, []string{"--tls-cert", filepath.Dir(cert), "--tls-key", key}, []string{"is not a file"}},
		"empty is none": {2, []string{"--tls-cert", "", "--tls-key", key}, []string{"--tls-key needs --tls-cert"}},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, runEnv(t, nil, append([]string{"serve", "--addr", "127.0.0.1:0"}, test.args...)...), test.code, test.want...)
		})
	}
}

func TestUnreadableKeyIsSaid(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every file")
	}
	cert, key := newPair(t, "mine").files(t, t.TempDir())
	if err := os.Chmod(key, 0); err != nil {
		t.Fatal(err)
	}
	wantError(t, runEnv(t, nil, "serve", "--tls-cert", cert, "--tls-key", key), 1, "let the user that pgbell runs as read it")
}
