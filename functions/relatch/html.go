package main

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stackflow/relatch/internal/account"
	"github.com/stackflow/relatch/internal/mfa"
	"github.com/stackflow/relatch/internal/report"
	"github.com/stackflow/relatch/internal/story"
	"github.com/stackflow/relatch/internal/whole"
)

// pageWriter also writes what happens as one page.
type pageWriter struct {
	writer
	ctx     context.Context // when it ends, the replay was stopped
	path    string
	asOf    time.Time
	page    report.Replay
	current report.Replayed
}

func (w *pageWriter) record(r mfa.Record) error {
	w.current.Add(r)
	return w.writer.record(r)
}

func (w *pageWriter) scenario(r *story.Report) error {
	facts := replayFacts{account: r.Account, users: map[mfa.RecordUser]mfa.User{}, names: r.Story.Names}
	users := make([]mfa.RecordUser, len(r.Users))
	for i := range r.Users {
		u := &r.Users[i]
		users[i] = mfa.RecordUser{Pool: u.Pool, Sub: u.Sub}
		facts.users[users[i]] = mfa.User{Sub: u.Sub, Found: true, Username: u.Username, Roles: u.Roles}
	}
	asOf := w.asOf
	if r.Left == 0 {
		asOf = time.Time{} // it ended before
	}
	err := w.page.Add(context.WithoutCancel(w.ctx), r.Name, r.Summary.String(), &w.current, users, asOf, facts)
	w.current = report.Replayed{}
	return errors.Join(err, w.writer.scenario(r))
}

func (w *pageWriter) end(took time.Duration) error {
	w.page.Cut = w.ctx.Err() != nil
	return errors.Join(w.writer.end(took), whole.Write(w.path, func(out *bufio.Writer) error { return w.page.HTML(out) }))
}

// replayFacts are what the account of a replay says besides the records.
type replayFacts struct {
	account *account.Account
	users   map[mfa.RecordUser]mfa.User // at the end
	names   map[mfa.Sub]string          // at the beginning, for those who are gone
}

func (f replayFacts) Person(_ context.Context, u mfa.RecordUser) (mfa.User, error) {
	if person, ok := f.users[u]; ok {
		return person, nil
	}
	return mfa.User{Sub: u.Sub, Username: f.names[u.Sub]}, nil
}

func (f replayFacts) Justification(ctx context.Context, o report.Override) (*mfa.Justification, error) {
	if f.account == nil {
		return nil, nil //nolint:nilnil // not known, as report.Facts says
	}
	all, err := f.account.Justifications(ctx, o.User.Pool, o.User.Sub)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(j mfa.Justification) bool { return j.ID == o.JustificationID }); i >= 0 {
		return &all[i], nil
	}
	return nil, nil //nolint:nilnil // not known, as report.Facts says
}
