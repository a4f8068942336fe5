// Package mfa holds the nouns of Relatch and its one decision.
//
// It is the arrow "Decide": a State that somebody observed, a Change that
// somebody parsed, a Policy and a time go in; a Decision comes out. It refuses
// to know where any of them come from: no AWS, no clock, no context, no error,
// and nothing but the standard library (a test proves it).
package mfa
