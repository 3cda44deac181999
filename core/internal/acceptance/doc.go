// Package acceptance is the tests of the whole: the weir command as a process of its own, in front of a real Apache Kafka that
// the tests start, spoken to by real clients. They carry the build tag "acceptance" and run by `make acceptance` with scaled
// counts, by `make soak` with full ones. Each test's comment says which promise it shows; docs/testing.md lists them.
package acceptance
