// Produces and consumes with the unmodified npm client kafka-rest, which speaks the v1 dialect.
// Usage: node client.js URL TOPIC. Prints one JSON object with what it saw; any failure ends it with status 1.
'use strict';
const KafkaRest = require('kafka-rest');

const [url, topicName] = process.argv.slice(2);
const kafka = new KafkaRest({ url });
const call = (f) => new Promise((resolve, reject) => f((err, result) => (err ? reject(err) : resolve(result))));
const timer = setTimeout(() => { console.error('no end after 60 s'); process.exit(1); }, 60000);

async function main() {
  const seen = {};
  seen.brokers = (await call((cb) => kafka.brokers.list(cb))).length;
  seen.topics = (await call((cb) => kafka.topics.list(cb))).map((t) => t.name);
  const topic = kafka.topic(topicName);
  await call((cb) => topic.get(cb));
  seen.partitions = (await call((cb) => topic.partitions.list(cb))).length;
  const sent = [];
  for (let i = 0; i < 20; i++) sent.push({ key: 'key' + (i % 5), value: 'message ' + i });
  seen.produced = (await call((cb) => topic.produce(sent, cb))).offsets.length;
  seen.toPartition = (await call((cb) => topic.partition(0).produce('to partition 0', cb))).offsets[0].partition;
  const instance = await call((cb) => kafka.consumer('npm-' + Date.now()).join({ 'auto.offset.reset': 'smallest', 'auto.commit.enable': 'false' }, cb));
  const stream = instance.subscribe(topicName);
  const received = [];
  await new Promise((resolve, reject) => {
    stream.on('error', reject);
    instance.on('error', reject);
    stream.on('data', (messages) => {
      for (const m of messages) received.push({ key: m.key && m.key.toString('utf8'), value: m.value.toString('utf8') });
      if (received.length >= 21) resolve();
    });
  });
  seen.received = received;
  await call((cb) => instance.commit(cb));
  await call((cb) => instance.shutdown(cb));
  clearTimeout(timer);
  console.log(JSON.stringify(seen));
}

main().then(() => process.exit(0), (err) => { console.error(err); process.exit(1); });
