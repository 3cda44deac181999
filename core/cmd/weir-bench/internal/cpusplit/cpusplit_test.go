package cpusplit

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/pprof/profile"
)

func TestPartOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ stack, want string }{ // innermost first
		{"runtime.memmove " + ours + "internal/rawjson.Compact " + ours + "internal/rest/v2.bindProduce net/http.(*conn).serve", json},
		{"runtime.mallocgc " + ours + "internal/rest/v2.(*decoder).records " + ours + "internal/rest.(*Handler).run net/http.(*conn).serve", json},
		{"runtime.mallocgc runtime.newobject " + ours + "internal/rest.(*Handler).ServeHTTP net/http.(*conn).serve", chain},
		{"syscall.Syscall internal/poll.(*FD).Write net.(*conn).Write net/http.checkConnErrorWriter.Write net/http.(*conn).serve", http},
		{"syscall.Syscall internal/poll.(*FD).Write net.(*conn).Write " + ours + "internal/kafka/producer.(*wireConn).Write github.com/IBM/sarama.(*Broker).write", sarama},
		{ours + "internal/kafka/producer.(*wireConn).take " + ours + "internal/kafka/producer.(*wireConn).Read github.com/IBM/sarama.(*Broker).readFull", producer},
		{"syscall.Syscall os.(*File).Write log/slog.(*commonHandler).handle " + ours + "internal/rest.(*Handler).logAccess", log},
		{"runtime.mallocgc " + ours + "internal/kafka/reader.take " + ours + "internal/kafka/reader.(*call).merge " + ours + "internal/kafka/consumer.(*Instance).Poll", reader},
		{"runtime.memmove github.com/IBM/sarama.(*realDecoder).getVarintBytes github.com/IBM/sarama.(*Broker).Fetch " + ours + "internal/kafka.(*FetchPool).serve", sarama},
		{"syscall.Syscall net.(*conn).Read " + ours + "internal/kafka.(*guardedConn).Read github.com/IBM/sarama.(*Broker).readFull", sarama},
		{"runtime.memmove " + ours + "internal/format.JSON.AppendJSON " + ours + "internal/rest.(*Sides).append " + ours + "internal/rest.WriteRecords", json},
		{"runtime.chansend github.com/IBM/sarama.(*partitionProducer).dispatch", sarama},
		{"runtime.lock2 runtime.schedule runtime.park_m runtime.mcall", scheduler},
		{"runtime.scanobject runtime.gcDrain runtime.gcBgMarkWorker.func2 runtime.systemstack runtime.gcBgMarkWorker", collector},
		{"runtime.gcDrainN runtime.gcAssistAlloc runtime.mallocgc " + ours + "internal/kafka/producer.(*Producer).Produce", producer},
		{"runtime.sysmon runtime.mstart1 runtime.mstart0 runtime.mstart", scheduler},
		{"runtime._ExternalCode", rest},
		{"runtime.usleep runtime.schedule runtime.mcall net/http.(*conn).serve", http},
	} {
		if got := partOf(strings.Fields(c.stack)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.stack, got, c.want)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	add := func(nanoseconds int64, stack ...string) {
		sample := &profile.Sample{Value: []int64{1, nanoseconds}}
		for _, name := range stack {
			f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
			l := &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
			p.Function, p.Location = append(p.Function, f), append(p.Location, l)
			sample.Location = append(sample.Location, l)
		}
		p.Sample = append(p.Sample, sample)
	}
	add(60, "runtime.memmove", "net/http.(*conn).serve")
	add(30, "github.com/IBM/sarama.(*Broker).send")
	add(10, "runtime.memmove", "log/slog.(*Logger).log")
	var file bytes.Buffer
	if err := p.Write(&file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&file, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := Split{Parts: []Part{{http, .6}, {sarama, .3}, {log, .1}}, Hot: []Function{{"runtime.memmove", .7}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("split (-want +got):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	var heap bytes.Buffer
	if err := (&profile.Profile{SampleType: []*profile.ValueType{{Type: "space", Unit: "bytes"}}}).Write(&heap); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"not a profile": "hello", "another profile": heap.String(), "empty": ""} {
		if _, err := Read(strings.NewReader(file), 1); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
