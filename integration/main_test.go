// Package integration tests pgbell against real PostgreSQL. Tests named
// TestTrigger... run on every major version that pgbell supports.
package integration

import (
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
