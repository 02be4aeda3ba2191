// The second server of the note: the file through a small buffer. node stream.js FOLDER PORT
const fs = require('node:fs')
const [folder, port] = process.argv.slice(2)

require('node:http').createServer((request, response) => {
  fs.createReadStream(folder + request.url).on('error', () => response.writeHead(404).end()).pipe(response)
}).listen(port, '127.0.0.1')
