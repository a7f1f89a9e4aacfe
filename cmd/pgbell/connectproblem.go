package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// connectProblem says in plain words why no connection to conf's database came
// about, and what to do.
func connectProblem(conf *pgconn.Config, err error) error {
	at := address(conf)
	var (
		pgErr     *pgconn.PgError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		netErr    net.Error
	)
	switch {
	case errors.As(err, &pgErr):
		return refusedBy(conf, at, pgErr)
	case errors.As(err, &authority), errors.As(err, &invalid):
		return plainf(err, "the certificate of %s is not trusted: set sslrootcert to the file of the authority that signed it", at)
	case errors.As(err, &hostname):
		return plainf(err, "the certificate of %s is for another host (%v): use that name in --database-url", at, hostname)
	case strings.Contains(err.Error(), "server refused TLS"), errors.As(err, &record):
		return plainf(err, "%s does not speak TLS: set sslmode=disable in --database-url, or ssl = on in the server's postgresql.conf", at)
	case errors.As(err, &dns) && misread(conf): // the name may be a part of the password
		return plainf(err, "no host of that name is known here: percent-encode @ / : in the password of --database-url (as %%40 %%2F %%3A)")
	case errors.As(err, &dns):
		return plainf(err, "no host %q is known here: check --database-url or PGHOST", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return plainf(err, "no PostgreSQL answers at %s: start it, or set --database-url", at)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return plainf(err, "no answer from %s within %v: is it up, and can it be reached from here?", at, conf.ConnectTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return plainf(err, "%s closed the connection: is it PostgreSQL? check --database-url", at)
	}
	return plainf(err, "no connection to %s: %v", at, innermost(err))
}

// misread says whether conf looks like that of a URL whose password ended too early:
// what stands after the first @ or / is the host or the database, with the last @ in it.
func misread(conf *pgconn.Config) bool {
	hosts := conf.Host + conf.Database
	for _, f := range conf.Fallbacks {
		hosts += f.Host
	}
	return strings.Contains(hosts, "@")
}

// refusedBy says why a server that answered refused the connection.
func refusedBy(conf *pgconn.Config, at string, e *pgconn.PgError) error {
	switch e.Code {
	case "28P01": // invalid_password; also what SCRAM says of a role that does not exist
		if conf.Password == "" {
			return plainf(e, "role %q needs a password at %s: set PGPASSWORD, or put it into --database-url or ~/.pgpass", conf.User, at)
		}
		return plainf(e, "wrong password for role %q at %s, or no such role: check --database-url, PGPASSWORD or ~/.pgpass", conf.User, at)
	case "28000": // invalid_authorization_specification
		return plainf(e, "%s: check the user in --database-url, and pg_hba.conf at %s", e.Message, at)
	case "3D000": // invalid_catalog_name
		return plainf(e, "database %q does not exist at %s: create it (createdb %s), or name another in --database-url", conf.Database, at, conf.Database)
	case "42501": // no CONNECT privilege
		return plainf(e, "role %q may not connect to database %q: grant connect on database %s to %s", conf.User, conf.Database, quoteIdentifier(conf.Database), quoteIdentifier(conf.User))
	case "53300": // too_many_connections
		return plainf(e, "%s has no connection left (%s): close some, or raise max_connections", at, e.Message)
	case "57P03": // cannot_connect_now
		return plainf(e, "%s is not ready (%s): try again in a moment", at, e.Message)
	}
	return plainf(e, "%s refuses the connection: %s", at, serverWords(e))
}

// address names the server or servers that conf points to.
func address(conf *pgconn.Config) string {
	var all []string
	add := func(host string, port uint16) {
		if _, a := pgconn.NetworkAddress(host, port); !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	add(conf.Host, conf.Port)
	for _, f := range conf.Fallbacks {
		add(f.Host, f.Port)
	}
	return strings.Join(all, " or ")
}

// innermost is the cause at the end of the chain, the last if there are several.
func innermost(err error) error {
	for {
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			if len(all) == 0 {
				return err
			}
			err = all[len(all)-1]
		default:
			next := errors.Unwrap(err)
			if next == nil {
				return err
			}
			err = next
		}
	}
}
