// The way out of the demo's private network, for package downloads alone: a CONNECT proxy in two halves that meet at a socket
// in a shared volume, since no container can be both on the host's network and on a private one.
//
//   node way-out.mjs out SOCKET        on the host's network: takes CONNECT at the socket; goes through HTTPS_PROXY where one is set
//   node way-out.mjs in PORT SOCKET    on the private network: passes each connection on to the socket
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import net from 'node:net';

const [mode, ...rest] = process.argv.slice(2);

// What breaks on one side ends the other.
function join(one, other) {
  one.pipe(other);
  other.pipe(one);
  for (const [from, to] of [[one, other], [other, one]]) from.on('error', () => to.destroy()).on('close', () => to.destroy());
}

function connect(target) {
  const further = process.env.HTTPS_PROXY || process.env.https_proxy;
  if (!further) {
    const [host, port] = target.split(':');
    const socket = net.connect(Number(port), host);
    socket.once('connect', () => socket.emit('through', ''));
    return socket;
  }
  const proxy = new URL(further);
  const socket = net.connect(Number(proxy.port || 80), proxy.hostname);
  const login = proxy.username && Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64');
  socket.once('connect', () => {
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${login ? `Proxy-Authorization: Basic ${login}\r\n` : ''}\r\n`);
  });
  socket.once('data', (answer) => {
    if (/^HTTP\/1\.[01] 200/.test(answer.toString('latin1'))) socket.emit('through');
    else socket.destroy();
  });
  return socket;
}

if (mode === 'out') {
  const [path] = rest;
  rmSync(path, { force: true });
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', (request, client, head) => {
    const target = connect(request.url);
    client.on('error', () => target.destroy());
    target.on('error', () => client.destroy());
    target.once('through', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) target.write(head);
      join(client, target);
    });
  });
  server.listen(path, () => {
    chmodSync(path, 0o666);
    console.log('way out is open');
  });
} else {
  const [port, path] = rest;
  net.createServer((client) => join(client, net.connect(path))).listen(Number(port), () => console.log('way out is reachable'));
}
process.on('SIGTERM', () => process.exit(0));
