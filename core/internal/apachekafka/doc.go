//go:build unix

// Package apachekafka starts real Apache Kafka clusters for tests and for people who try Weir out.
//
// Kafka's jars come from Maven Central once (Download) and are kept in a cache that several processes may share. Start
// formats and runs one, two or three brokers in KRaft mode on free loopback ports, checks over the wire that what answers
// there is the cluster it has just formatted, and hands back a Cluster whose nodes can be killed, paused, stopped and
// restarted one by one. A cluster never outlives the process that started it, and this package never talks to a broker
// that it did not start.
//
// Topics and leaders are handled with franz-go, not with the client that Weir itself uses: what a test arranges and reads
// back must not lean on the code under test.
package apachekafka

// Version is the release of Apache Kafka that is downloaded and run.
const Version = "4.3.1"

// minimumJava is the oldest Java that runs the brokers of Version.
const minimumJava = 17
