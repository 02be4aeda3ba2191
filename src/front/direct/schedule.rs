//! For tests: everybody who shares something, a step at a time, in every order that there is with some changes between them.

/// One way through all choices after the other.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// What was chosen, of how many.
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Schedule {
    fn choose(&mut self, count: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, count));
        }
        self.at += 1;
        self.choices[self.at - 1].0
    }

    /// Who of so many has the next step; none if nobody can. `last` goes on while it can, but for `changes` times.
    pub(super) fn next_of(
        &mut self,
        count: usize,
        changes: &mut usize,
        last: &mut usize,
        can: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let able: Vec<_> = (0..count).filter(|who| can(*who)).collect();
        let goes_on = able.contains(last);
        let who = match able.as_slice() {
            [] => return None,
            _ if goes_on && *changes == 0 => *last,
            able => able[self.choose(able.len())],
        };
        *changes -= usize::from(goes_on && who != *last);
        *last = who;
        Some(who)
    }

    /// Whether there is another way.
    pub(super) fn is_another(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, count)) = self.choices.pop() {
            if chosen + 1 < count {
                self.choices.push((chosen + 1, count));
                return true;
            }
        }
        false
    }
}
