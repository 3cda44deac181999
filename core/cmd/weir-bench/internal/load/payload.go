package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Values makes count different JSON values of exactly size bytes each, at least 640: orders with nested objects, numbers and
// strings with escapes, without white space, the same ones each time.
func Values(count, size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([][]byte, count)
	for i := range values {
		values[i] = value(random, size)
	}
	return values
}

// Numbered gives a copy of one of Values with another id, so that no two of a topic are alike.
func Numbered(value []byte, n int) []byte {
	numbered := bytes.Clone(value)
	copy(numbered[len(idBefore):], fmt.Appendf(nil, "%08d", n%1e8))
	return numbered
}

// idBefore is what a value has before the eight digits of its id.
const idBefore = `{"id":"ord-`

func value(random *rand.Rand, size int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, idBefore+`%08d","placed":"2026-%02d-%02dT%02d:%02d:%02d.%03dZ","channel":"web","express":%t,"coupon":null,`,
		random.IntN(1e8), 1+random.IntN(12), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60), random.IntN(1000), random.IntN(2) == 0)
	fmt.Fprintf(&b, `"customer":{"id":%d,"name":"Zo\u00eb \"Z.\" Müller %d","address":{"street":"Am Wehr %d\nHinterhaus","zip":"%05d","geo":[%.6f,%.6f]}},"items":[`,
		random.IntN(1e7), random.IntN(1e4), random.IntN(200), random.IntN(1e5), 47+6*random.Float64(), 6+9*random.Float64())
	total := 0.0
	const tail = 120 // what comes after the items, at most, without the filling
	for i := 0; b.Len() < size-tail-130; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		quantity, price := 1+random.IntN(9), float64(random.IntN(100000))/100
		total += float64(quantity) * price
		fmt.Fprintf(&b, `{"sku":"W-%06d","quantity":%d,"price":%.2f,"note":"size \/ colour: %d\\%d","tags":["a%d","b%d"]}`,
			random.IntN(1e6), quantity, price, random.IntN(60), random.IntN(60), random.IntN(100), random.IntN(100))
	}
	fmt.Fprintf(&b, `],"total":%.2f,"score":%se-3,"trace":"`, total, strconv.FormatFloat(random.Float64(), 'f', 9, 64))
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	for b.Len() < size-2 {
		b.WriteByte(letters[random.IntN(len(letters))])
	}
	b.WriteString(`"}`)
	return []byte(b.String())
}

// V2Body is the body of a v2 produce request with JSON values and no keys.
func V2Body(values [][]byte) []byte {
	b := []byte(`{"records":[`)
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"value":`...)
		b = append(b, value...)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// V2Requests makes count requests of batch records each to a topic.
func V2Requests(address, topic string, values [][]byte, batch, count int) [][]byte {
	requests := make([][]byte, count)
	for i := range requests {
		chosen := make([][]byte, batch)
		for j := range chosen {
			chosen[j] = values[(i*batch+j)%len(values)]
		}
		body := V2Body(chosen)
		requests[i] = fmt.Appendf(nil, "POST /topics/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/vnd.kafka.json.v2+json\r\n"+
			"Accept: application/vnd.kafka.v2+json\r\nContent-Length: %d\r\n\r\n%s", topic, address, len(body), body)
	}
	return requests
}

// V3Stream makes the header and the chunks of a v3 record stream.
func V3Stream(address, cluster, topic string, values [][]byte) (head []byte, chunks [][]byte) {
	head = fmt.Appendf(nil, "POST /v3/clusters/%s/topics/%s/records HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n", cluster, topic, address)
	for _, value := range values {
		record := fmt.Appendf(nil, `{"value":{"type":"JSON","data":%s}}`+"\n", value)
		chunks = append(chunks, fmt.Appendf(nil, "%x\r\n%s\r\n", len(record), record))
	}
	return head, chunks
}
