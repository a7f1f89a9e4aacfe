package pglive

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// limitError says that a result is larger than may be.
type limitError string

func (e limitError) Error() string { return string(e) }

func isLimit(err error) bool {
	l := limitError("")
	return errors.As(err, &l)
}

// isArgument says whether a text can't be read as an argument's type.
func isArgument(err error) bool {
	pgErr := (*pgconn.PgError)(nil)
	return errors.As(err, &pgErr) && slices.Contains([]string{
		"22P02", "22003", "22007", "22008", "22021", "22001", // invalid_text_representation and the like
	}, pgErr.Code)
}

// isPg says whether err is Postgres' answer to a statement.
func isPg(err error) bool {
	pgErr := (*pgconn.PgError)(nil)
	return errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, "57P") // admin_shutdown and the like
}

// isConnection says whether err is for want of a connection, and not the query's fault.
func isConnection(err error) bool {
	netErr, pgErr := net.Error(nil), (*pgconn.PgError)(nil)
	switch {
	case errors.As(err, &pgErr):
		return !isPg(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	}
	return errors.As(err, &netErr) || pgconn.SafeToRetry(err)
}
