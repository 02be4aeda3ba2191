//! An exchange as a line: as the logs of other servers have it, or as JSON.

use std::fmt::{self, Display, Formatter};

use crate::http::date;
use crate::http::escape::{AsciiJson, Quoted, Word};
use crate::traffic::Exchange;

impl Exchange {
    /// A line of an access log, without its end, in the combined format of Apache and nginx, with times in UTC. Three fields more
    /// follow: `expected` (`-` if it is `None`), `duration` in seconds, and the name of `outcome`.
    ///
    /// It is visible ASCII, whatever a client says: other characters, quotation marks and backslashes are escaped as `\xHH`.
    pub fn combined(&self) -> impl Display + '_ {
        Combined(self)
    }

    /// One JSON object (RFC 8259), in ASCII and without a line end. What is not known is `null`.
    pub fn json(&self) -> impl Display + '_ {
        Json(self)
    }

    /// IPv4 is said as such, whatever the socket.
    fn address(&self) -> Option<std::net::IpAddr> {
        self.client.map(|client| client.ip().to_canonical())
    }
}

struct Combined<'a>(&'a Exchange);

impl Display for Combined<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        match exchange.address() {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("-")?,
        }
        let time = date::for_logs(exchange.started);
        write!(
            f,
            " - {} [{}] \"",
            field(exchange.user.as_deref().unwrap_or_default()),
            time.as_deref().unwrap_or("-")
        )?;
        match &*exchange.method {
            // What was no request has none.
            "" => f.write_str("-")?,
            method => {
                let (major, minor) = exchange.version;
                write!(f, "{} {} HTTP/{major}.{minor}", field(method), field(&exchange.target))?;
            }
        }
        write!(f, "\" {} {}", exchange.status, exchange.sent)?;
        for said in [&exchange.referer, &exchange.user_agent] {
            write!(f, " \"{}\"", Quoted(said.as_deref().unwrap_or("-")))?;
        }
        match exchange.expected {
            Some(expected) => write!(f, " {expected}")?,
            None => f.write_str(" -")?,
        }
        write!(f, " {:.3} {}", exchange.duration.as_secs_f64(), exchange.outcome.name())
    }
}

/// A word; an empty one would be none.
fn field(text: &str) -> Word<'_> {
    Word(if text.is_empty() { "-" } else { text })
}

struct Json<'a>(&'a Exchange);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        let (major, minor) = exchange.version;
        let (time, client) = (date::with_milliseconds(exchange.started), exchange.address().map(|ip| ip.to_string()));
        write!(f, "{{\"time\":{},\"client\":{}", Text(time.as_deref()), Text(client.as_deref()))?;
        // What was no request has none of these.
        let (is_request, protocol) = (!exchange.method.is_empty(), format!("HTTP/{major}.{minor}"));
        let [method, target, protocol] =
            [&*exchange.method, &*exchange.target, &*protocol].map(|text| Text(is_request.then_some(text)));
        write!(f, ",\"user\":{},\"method\":{method}", Text(exchange.user.as_deref()))?;
        write!(f, ",\"target\":{target},\"protocol\":{protocol}")?;
        write!(f, ",\"status\":{},\"sent\":{}", exchange.status, exchange.sent)?;
        match exchange.expected {
            Some(expected) => write!(f, ",\"expected\":{expected}")?,
            None => f.write_str(",\"expected\":null")?,
        }
        write!(f, ",\"seconds\":{:.3},\"outcome\":\"{}\"", exchange.duration.as_secs_f64(), exchange.outcome.name())?;
        let (referer, agent) = (exchange.referer.as_deref(), exchange.user_agent.as_deref());
        write!(f, ",\"referer\":{},\"user_agent\":{}}}", Text(referer), Text(agent))
    }
}

/// A string or `null`.
struct Text<'a>(Option<&'a str>);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "\"{}\"", AsciiJson(text)),
            None => f.write_str("null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Outcome;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn exchange() -> Exchange {
        Exchange {
            client: Some("[::ffff:192.0.2.1]:4711".parse().unwrap()),
            method: "GET".into(),
            target: "/film.mkv?a=b".into(),
            version: (1, 1),
            user: Some("ann".into()),
            referer: Some("http://example.org/".into()),
            user_agent: Some("curl/8.0 (x)".into()),
            status: 206,
            expected: Some(5000),
            sent: 1234,
            started: UNIX_EPOCH + Duration::from_millis(784_111_777_900),
            duration: Duration::from_micros(12_345_678),
            outcome: Outcome::ClientLeft,
        }
    }

    fn nothing() -> Exchange {
        let (method, target) = ("".into(), "".into());
        let (client, user, referer, user_agent, expected) = (None, None, None, None, None);
        let (version, status, started) = ((1, 0), 400, UNIX_EPOCH - Duration::from_secs(1));
        Exchange { client, method, target, version, user, referer, user_agent, status, expected, started, ..exchange() }
    }

    #[test]
    fn lines() {
        assert_eq!(
            exchange().combined().to_string(),
            "192.0.2.1 - ann [06/Nov/1994:08:49:37 +0000] \"GET /film.mkv?a=b HTTP/1.1\" 206 1234 \
             \"http://example.org/\" \"curl/8.0 (x)\" 5000 12.346 client-left"
        );
        assert_eq!(nothing().combined().to_string(), "- - - [-] \"-\" 400 1234 \"-\" \"-\" - 12.346 client-left");
        assert_eq!(
            exchange().json().to_string(),
            r#"{"time":"1994-11-06T08:49:37.900Z","client":"192.0.2.1","user":"ann","method":"GET","target":"/film.mkv?a=b","protocol":"HTTP/1.1","status":206,"sent":1234,"expected":5000,"seconds":12.346,"outcome":"client-left","referer":"http://example.org/","user_agent":"curl/8.0 (x)"}"#
        );
        assert_eq!(
            nothing().json().to_string(),
            r#"{"time":null,"client":null,"user":null,"method":null,"target":null,"protocol":null,"status":400,"sent":1234,"expected":null,"seconds":12.346,"outcome":"client-left","referer":null,"user_agent":null}"#
        );
    }

    /// Whether a line is combined as every program reads it: words, a time in brackets, and three texts in quotation marks.
    fn is_combined(line: &str) -> bool {
        let quoted = |text: &str| text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        let (mut fields, mut field, mut inside) = (Vec::new(), String::new(), false);
        for c in line.chars() {
            match c {
                '"' => inside = !inside,
                '[' | ']' if fields.len() == 3 => inside = !inside,
                ' ' if !inside => {
                    fields.push(std::mem::take(&mut field));
                    continue;
                }
                _ => {}
            }
            field.push(c);
        }
        fields.push(field);
        let number = |text: &str| text.parse::<u64>().is_ok();
        let [client, dash, user, time, request, status, sent, referer, agent, expected, seconds, outcome] = &fields[..]
        else {
            return false;
        };
        client == "192.0.2.1"
            && dash == "-"
            && !user.is_empty()
            && time == "[06/Nov/1994:08:49:37 +0000]"
            && quoted(request)
            && request.trim_matches('"').split(' ').count() == 3
            && number(status)
            && number(sent)
            && quoted(referer)
            && quoted(agent)
            && number(expected)
            && seconds.parse::<f64>().is_ok()
            && outcome == "client-left"
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_one_field_of_one_line(
            user in "\\PC{0,9}|.{0,9}", target in "(?s:.{0,40})", referer in "(?s:.{0,40})", agent in r#"[ "\\\[\]\n\r\x1b\u{202e}x]{0,40}"#,
        ) {
            let texts = [&user, &target, &referer, &agent].map(|text| Some(text.as_str().into()));
            let [user_told, target_told, referer_told, agent_told] = texts;
            let told = Exchange {
                user: user_told,
                target: target_told.unwrap(),
                referer: referer_told,
                user_agent: agent_told,
                ..exchange()
            };
            let line = told.combined().to_string();
            prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)) && is_combined(&line), "{}", line);
            let line = told.json().to_string();
            prop_assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", line);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value.as_object().map(serde_json::Map::len), Some(13));
            for (name, said) in [("user", &user), ("target", &target), ("referer", &referer), ("user_agent", &agent)] {
                prop_assert_eq!(value[name].as_str(), Some(said.as_str()));
            }
        }
    }
}
