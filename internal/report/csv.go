package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stackflow/relatch/internal/mfa"
)

// csvColumns are the names in the first line. Add at the end, never rename.
var csvColumns = []string{
	"override", "pool_id", "sub", "username", "roles", "required", "factors", "actor", "actor_type", "source_ip",
	"opened_at", "deadline", "closed_at", "ended", "brief", "seconds", "late_seconds", "repeated", "justified", "failed_rules",
	"reason", "ticket", "cause", "author", "approver", "justified_at",
}

// CSV writes a line for each override, as RFC 4180 says. Lists are separated by
// spaces, times are RFC 3339. A cell that a spreadsheet would take for a formula
// begins with an apostrophe.
func (r *Report) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	if err := w.Write(csvColumns); err != nil {
		return err
	}
	for i := range r.All {
		o := &r.All[i]
		j := o.Justification
		if j == nil {
			j = &mfa.Justification{}
		}
		cells := []string{
			o.ID, string(o.User.Pool), string(o.User.Sub), o.Username, spaced(o.Roles), strconv.FormatBool(o.Required), spaced(o.Factors),
			o.Actor, string(o.ActorType), o.SourceIP, stamp(o.OpenedAt), stamp(o.Deadline), stamp(o.ClosedAt), string(o.Ended),
			strconv.FormatBool(o.Brief), fmt.Sprint(o.Seconds), fmt.Sprint(o.LateSeconds), fmt.Sprint(o.Repeated),
			strconv.FormatBool(o.Justified), spaced(o.Failed), j.Reason, j.Ticket, string(j.Cause), j.Author, j.Approver, stamp(j.At),
		}
		for i := range cells {
			cells[i] = inert(cells[i])
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// inert keeps a spreadsheet from taking a cell for a formula
// (https://owasp.org/www-community/attacks/CSV_Injection).
func inert(cell string) string {
	if first, _ := utf8.DecodeRuneInString(cell); cell != "" && strings.ContainsRune("=+-@＝＋－＠\t\r\n", first) {
		return "'" + cell
	}
	return cell
}

func spaced[T ~string](all []T) string { return strings.ReplaceAll(list(all), ", ", " ") }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
