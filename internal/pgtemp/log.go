package pgtemp

import (
	"io"
	"strings"
)

// Log returns what the server has logged since it was first started, the
// newest 64 KiB of it. After Stop there is none.
func (s *Server) Log() string {
	const most = 64 << 10
	info, err := s.log.Stat()
	if err != nil {
		return ""
	}
	return s.logSince(max(0, info.Size()-most))
}

func (s *Server) logSince(offset int64) string {
	info, err := s.log.Stat()
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.NewSectionReader(s.log, offset, info.Size()-offset))
	if err != nil {
		return ""
	}
	return string(text)
}

// complaint returns in one line what the log says is wrong.
func (s *Server) complaint() string { return s.complaintSince(0) }

func (s *Server) complaintSince(offset int64) string {
	var said []string
	last := "it logged nothing"
	for line := range strings.Lines(s.logSince(offset)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		last = line
		for _, level := range []string{"FATAL:", "PANIC:", "ERROR:", "error:", "LOG:  could not", "LOG:  invalid", "LOG:  unrecognized"} {
			if at := strings.Index(line, level); at >= 0 {
				said = append(said, line[at:])
				break
			}
		}
	}
	if len(said) == 0 {
		return last
	}
	return strings.Join(said, "; ")
}
