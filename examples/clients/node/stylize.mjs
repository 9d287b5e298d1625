// node stylize.mjs PHOTO STYLE_PICTURE OUT_FOLDER
// Environment: STYLEWIRE_TARGET, STYLEWIRE_CA (a PEM file turns TLS on), STYLEWIRE_TOKEN.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { load } from 'google-proto-files';

const [photo, painting, out] = process.argv.slice(2);
const { STYLEWIRE_TARGET: target = 'localhost:50051', STYLEWIRE_CA: ca, STYLEWIRE_TOKEN: token } = process.env;

const protos = fileURLToPath(new URL('../../../proto', import.meta.url));
const { stylewire } = grpc.loadPackageDefinition(
  loader.loadSync('stylewire/v1/stylizer.proto', { includeDirs: [protos], keepCase: true }));
const client = new stylewire.v1.Stylizer(target,
  ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure(),
  { 'grpc.max_receive_message_length': 64 * 2 ** 20 });

const headers = () => {
  const metadata = new grpc.Metadata();
  if (token) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
};
const call = (method, request, milliseconds = 30_000) => new Promise((resolve, reject) =>
  client[method](request, headers(), { deadline: Date.now() + milliseconds },
    (error, answer) => (error ? reject(error) : resolve(answer))));

const content = { encoded: readFileSync(photo) };
const style = { image: { encoded: readFileSync(painting) } };

// A style kept under a name, then used by it; and a blend with the picture itself, in equal parts.
await call('CreateStyle', { name: 'node-example', styles: [style], overwrite: true });
const named = await call('Stylize', { content, styles: [{ name: 'node-example' }], options: { size: 384 } });
writeFileSync(`${out}/named.jpg`, named.image.encoded);
const blend = [{ name: 'node-example', weight: 0.5 }, { image: content, weight: 0.5 }];
writeFileSync(`${out}/blend.jpg`, (await call('Stylize', { content, styles: blend })).image.encoded);

// Twenty frames over one stream: the first message carries the style, the others a picture each.
const stream = client.StylizeStream(headers());
stream.write({ setup: { styles: [{ name: 'node-example' }] } });
for (let frame = 0; frame < 20; frame++) stream.write({ content });
stream.end();
let frames = 0;
for await (const answer of stream) frames += answer.image.encoded.length > 0;
console.log(`frames ${frames}`);

// A deadline that cannot be met, a call that is canceled, and the details of an error.
console.log('deadline', grpc.status[(await call('Stylize', { content, styles: [style] }, 1).catch((error) => error)).code]);
const canceled = new Promise((resolve) => {
  client.Stylize({ content, styles: [style] }, headers(), (error) => resolve(error)).cancel();
});
console.log('cancel', grpc.status[(await canceled).code]);
const refused = await call('Stylize', { content, styles: [style], options: { strength: 2 } }).catch((error) => error);
const rpc = await load('google/rpc/error_details.proto').then((root) => root.loadSync(
  fileURLToPath(import.meta.resolve('google-proto-files/google/rpc/status.proto'))));
for (const detail of rpc.lookupType('google.rpc.Status').decode(refused.metadata.get('grpc-status-details-bin')[0]).details) {
  console.log(JSON.stringify(rpc.lookupType(detail.type_url.split('/')[1]).decode(detail.value)));
}
client.close();
