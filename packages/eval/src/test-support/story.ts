/** Text for a model of children's stories, about 520 of its tokens; written for these tests. */

export const story = `Once upon a time there was a little girl named Lily. She had a small red ball and a big brown dog named Max. Every day after lunch,
Lily and Max went to the park to play with the ball. One day the ball rolled down the hill and into the pond. Lily was sad. "Oh no," she said. "My ball is in the
water and I can not swim." Max looked at the ball. Then he ran to the pond and jumped in with a big splash. He took the ball in his mouth and swam back to
Lily. Lily was so happy. She gave Max a big hug, even though he was very wet. "Thank you, Max," she said. "You are the best dog in the world."
On the way home they met a boy named Tim. Tim was sitting under a tree and he looked sad. "What is wrong?" asked Lily. "I lost my toy car," said Tim. "I
looked for it all day and I can not find it." Lily wanted to help. "We can look for it together," she said. They looked under the bench and behind the
tree. They looked in the tall grass and in the sand. Then Max began to bark. He was next to a big rock. Tim ran to the rock and saw his toy car. "You
found it!" he said. Tim was very happy. He asked Lily and Max to come to his house for some cake. His mom made a big cake with red and blue sugar on it. They all sat
in the garden and ate the cake. From that day on, Lily, Tim and Max were good friends, and they played in the park every day.`;
